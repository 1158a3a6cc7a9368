#include "hvf/sim/qemu.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace stasis::hvf::sim {
namespace {

constexpr std::string_view kProgramName = "qemu-system-aarch64";
constexpr int kMemoryFd = 3, kProgramFd = 4;  // In QEMU's process.

Error refused(std::string_view what) {
  return Error{Errc::kIo, errno, std::string(what) + " for QEMU"};
}

// "max" has the atomics and pointer authentication of the CPUs that the framework runs on; with
// the architecture's own cipher for the latter QEMU would be several times slower. The frequency is
// that of every Apple CPU. Nothing else of QEMU is wanted: no firmware, no devices but the board's.
std::vector<std::string> command_line(std::uint64_t memory_bytes, std::uint32_t pes) {
  const std::string size = std::to_string(memory_bytes >> 20U) + "M";
  return {std::string(kProgramName),
          "-M",
          "virt,virtualization=on,gic-version=3,memory-backend=ram",
          "-cpu",
          "max,pauth-impdef=on,sve=off,cntfrq=24000000",
          "-accel",
          "tcg,thread=multi",
          "-smp",
          std::to_string(pes),
          "-m",
          size,
          "-object",
          "memory-backend-file,id=ram,share=on,size=" + size + ",mem-path=/proc/self/fd/" +
              std::to_string(kMemoryFd),
          "-kernel",
          "/proc/self/fd/" + std::to_string(kProgramFd),
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-serial",
          "stdio"};
}

struct ChildFds {
  int serial, messages, memory, program;
};

// In the child between fork() and exec: only what is safe after a fork of many threads.
[[noreturn]] void become_qemu(const char* path, char* const* arguments, ChildFds fds,
                              pid_t parent) {
  // Above all numbers that they shall get, so that none is overwritten by another.
  const auto move_up = [](int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 16); };
  const int serial = move_up(fds.serial), messages = move_up(fds.messages),
            memory = move_up(fds.memory), program = move_up(fds.program);
  const bool ready = ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent &&
                     ::dup2(serial, 0) >= 0 && ::dup2(serial, 1) >= 0 && ::dup2(messages, 2) >= 0 &&
                     ::dup2(memory, kMemoryFd) >= 0 && ::dup2(program, kProgramFd) >= 0;
  // Files that somebody in this process forgot to mark must not stay open in QEMU.
  static_cast<void>(::syscall(SYS_close_range, kProgramFd + 1, ~0U, 0));
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  ::setsid();  // A Ctrl-C on the terminal is for this process, which then ends QEMU.
  if (ready) {
    ::execv(path, arguments);
  }
  ::_exit(127);
}

std::string read_messages(int fd) {
  std::array<char, 2048> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  std::string result(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!result.empty() && result.back() == '\n') {
    result.pop_back();
  }
  std::ranges::replace(result, '\n', ' ');
  return result;
}

std::string describe_status(int status) {
  if (WIFSIGNALED(status)) {
    return "QEMU was ended by signal " + std::to_string(WTERMSIG(status));
  }
  return "QEMU ended with status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

std::optional<std::string> find_qemu() {
  const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it.
  std::string_view left = path == nullptr ? "" : path;
  while (!left.empty()) {
    const std::size_t end = std::min(left.find(':'), left.size());
    std::string candidate = std::string(left.substr(0, end)) + "/" + std::string(kProgramName);
    if (::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return std::nullopt;
}

Result<std::unique_ptr<Qemu>> Qemu::start(int memory_fd, std::uint64_t memory_bytes, int program_fd,
                                          std::uint32_t pes, Listener listener) {
  std::unique_ptr<Qemu> qemu(new Qemu(std::move(listener)));
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return refused("socketpair()");
  }
  qemu->serial_ = UniqueFd(sockets[0]);
  qemu->their_serial_ = UniqueFd(sockets[1]);
  qemu->messages_ = UniqueFd(::memfd_create("stasis-hvf-sim-messages", MFD_CLOEXEC));
  if (!qemu->messages_.is_open()) {
    return refused("memfd_create()");
  }
  Qemu& self = *qemu;
  STASIS_ASSIGN(qemu->thread_, HostThread::start("the thread of QEMU", [=, &self] {
                  self.serve(command_line(memory_bytes, pes), memory_fd, program_fd);
                }));
  {
    const MutexLock lock(self.mutex_);
    while (!self.outcome_.has_value()) {
      self.started_.wait(self.mutex_);
    }
    STASIS_TRY(*self.outcome_);
  }
  return qemu;
}

Qemu::~Qemu() {
  kill();
  thread_.join();
}

void Qemu::serve(const std::vector<std::string>& arguments, int memory_fd, int program_fd) {
  Result<void> spawned = spawn(arguments, memory_fd, program_fd);
  their_serial_.reset();
  const bool is_running = spawned.has_value();
  {
    const MutexLock lock(mutex_);
    outcome_ = std::move(spawned);
    started_.notify_all();
  }
  if (is_running) {
    listen();
    listener_.on_end(reap());
  }
}

Result<void> Qemu::spawn(const std::vector<std::string>& arguments, int memory_fd, int program_fd) {
  const std::optional<std::string> path = find_qemu();
  if (!path.has_value()) {
    return Error{Errc::kNotFound, 0, "qemu-system-aarch64 is not in PATH"};
  }
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));  // exec does not write to them.
  }
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    become_qemu(path->c_str(), pointers.data(),
                {their_serial_.get(), messages_.get(), memory_fd, program_fd}, parent);
  }
  if (child < 0) {
    return refused("fork()");
  }
  const MutexLock lock(mutex_);
  pid_ = child;
  return {};
}

void Qemu::listen() {
  std::array<std::uint8_t, 256> bytes{};
  while (true) {
    const ssize_t size = ::recv(serial_.get(), bytes.data(), bytes.size(), 0);
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size <= 0) {
      return;
    }
    std::for_each_n(bytes.begin(), size, listener_.on_byte);
  }
}

Error Qemu::reap() {
  int pid = -1;
  {
    const MutexLock lock(mutex_);
    pid = pid_;
    // Its streams are closed, so it is ending or of no use.
    static_cast<void>(::kill(pid, SIGKILL));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  {
    const MutexLock lock(mutex_);
    pid_ = -1;
  }
  const std::string messages = read_messages(messages_.get());
  return Error{Errc::kBackend, 0,
               describe_status(status) + (messages.empty() ? "" : ": " + messages)};
}

void Qemu::send(std::uint8_t byte) {
  while (::send(serial_.get(), &byte, 1, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

void Qemu::kill() {
  const MutexLock lock(mutex_);
  if (pid_ > 0) {
    static_cast<void>(::kill(pid_, SIGKILL));
  }
}

std::optional<int> Qemu::process_id() const {
  const MutexLock lock(mutex_);
  return pid_ > 0 ? std::optional(pid_) : std::nullopt;
}

}  // namespace stasis::hvf::sim
