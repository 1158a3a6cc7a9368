#include "experiments/harness/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string_view>
#include <utility>

#include "core/unique_fd.h"

extern char** environ;  // NOLINT: POSIX names it.

namespace stasis::experiments {
namespace {

struct Pipe {
  UniqueFd read_end, write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return errno_error(errno, "make a pipe");
  }
  return Pipe{.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
}

// Owns a child that has not been waited for: kills and reaps it.
class Child {
 public:
  explicit Child(pid_t pid) noexcept : pid_(pid) {}
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Child(Child&&) = delete;
  Child& operator=(Child&&) = delete;

  Result<void> wait(ProcessResult& result) {
    int status = 0;
    rusage usage{};
    while (::wait4(pid_, &status, 0, &usage) < 0) {
      if (errno != EINTR) {
        return errno_error(errno, "wait for the trial process");
      }
    }
    pid_ = 0;
    result.ended_at = host_clock().now();
    result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    const auto nanoseconds = [](const timeval& time) {
      return std::int64_t{time.tv_sec} * 1'000'000'000 + std::int64_t{time.tv_usec} * 1000;
    };
    result.cpu_ns = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
    result.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
    return {};
  }

 private:
  pid_t pid_;
};

Result<pid_t> spawn(const std::vector<std::string>& argv, int out, int err) {
  std::vector<char*> pointers;
  pointers.reserve(argv.size() + 1);
  for (const std::string& argument : argv) {
    // posix_spawn takes char* for history's sake and does not write to it.
    pointers.push_back(const_cast<char*>(argument.c_str()));  // NOLINT
  }
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    Error error = errno_error(failed, "start " + argv[0]);
    error.code = failed == ENOENT ? Errc::kNotFound : Errc::kIo;
    return error;
  }
  return pid;
}

// Moves what is there to `text`; false at the end of the stream.
Result<bool> drain(int fd, std::string& text) {
  std::array<char, 65536> buffer = {};
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) {
    return true;
  }
  if (got < 0) {
    return errno_error(errno, "read from the trial process");
  }
  const std::size_t room = kOutputBytesMax - text.size();
  text.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
  return got > 0;
}

// Why to give up, or nothing.
std::optional<std::string_view> reason_to_stop(const ProcessOptions& options,
                                               MonotonicNs deadline) {
  if (options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed)) {
    return ": cancelled";
  }
  if (host_clock().now() > deadline) {
    return ": did not end in time, killed";
  }
  return std::nullopt;
}

// Reads what there is; a stream that has ended is no longer polled.
Result<void> drain_ready(pollfd& stream, std::string& text) {
  if (stream.fd < 0 || stream.revents == 0) {
    return {};
  }
  STASIS_ASSIGN(const bool more, drain(stream.fd, text));
  if (!more) {
    stream.fd = -1;
  }
  return {};
}

// Until both streams end.
Result<void> collect(Pipe& out, Pipe& err, const std::string& program,
                     const ProcessOptions& options, ProcessResult& result) {
  const MonotonicNs deadline = result.spawned_at + options.timeout.count();
  std::array<pollfd, 2> streams = {pollfd{out.read_end.get(), POLLIN, 0},
                                   pollfd{err.read_end.get(), POLLIN, 0}};
  while (streams[0].fd >= 0 || streams[1].fd >= 0) {
    if (const auto reason = reason_to_stop(options, deadline)) {
      std::string message = program + std::string(*reason);
      if (!result.standard_error.empty()) {
        message.append(": ").append(result.standard_error);
      }
      return Error{.code = Errc::kTimeout, .message = std::move(message)};
    }
    // Wakes now and then to look at the cancel flag; data wakes it at once.
    if (::poll(streams.data(), streams.size(), 100) < 0 && errno != EINTR) {
      return errno_error(errno, "poll the trial process");
    }
    STASIS_TRY(drain_ready(streams[0], result.standard_output));
    STASIS_TRY(drain_ready(streams[1], result.standard_error));
  }
  return {};
}

}  // namespace

Result<ProcessResult> run_process(const std::vector<std::string>& argv,
                                  const ProcessOptions& options) {
  STASIS_ASSIGN(Pipe out, make_pipe());
  STASIS_ASSIGN(Pipe err, make_pipe());
  ProcessResult result;
  result.spawned_at = host_clock().now();
  STASIS_ASSIGN(const pid_t pid, spawn(argv, out.write_end.get(), err.write_end.get()));
  Child child(pid);
  out.write_end.reset();
  err.write_end.reset();
  STASIS_TRY(collect(out, err, argv[0], options, result));
  STASIS_TRY(child.wait(result));
  return result;
}

}  // namespace stasis::experiments
