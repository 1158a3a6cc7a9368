#include "tests/cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

namespace stasis::cli::test {

namespace fs = std::filesystem;

namespace {

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe make_pipe() {
  std::array<int, 2> fds = {-1, -1};
  EXPECT_EQ(pipe2(fds.data(), O_CLOEXEC), 0);
  return {fds[0], fds[1]};
}

void close_fd(int& fd) {
  if (fd >= 0) {
    close(fd);
    fd = -1;
  }
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) {
    result.push_back(word.data());
  }
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> words;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string word(*entry);
    if (!added.contains(word.substr(0, word.find('=')))) {
      words.push_back(word);
    }
  }
  for (const auto& [name, value] : added) {
    words.push_back(name + "=" + value);
  }
  return words;
}

}  // namespace

nlohmann::json Outcome::json() const {
  nlohmann::json value = nlohmann::json::parse(out, nullptr, false);
  EXPECT_TRUE(value.is_object()) << "not one JSON object: " << out << err;
  return value;
}

Process::Process(const std::vector<std::string>& arguments, const RunSettings& settings) {
  std::vector<std::string> words = {STASIS_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = environment_with(settings.environment);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(environment);
  // A pipe holds less than a request may; a file holds all of it without a second process.
  const int input = memfd_create("stdin", MFD_CLOEXEC);
  EXPECT_EQ(write(input, settings.input.data(), settings.input.size()),
            static_cast<ssize_t>(settings.input.size()));
  lseek(input, 0, SEEK_SET);
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  pid_ = fork();
  if (pid_ == 0) {
    if (!settings.stdout_path.empty()) {
      dup2(open(settings.stdout_path.c_str(), O_WRONLY), STDOUT_FILENO);
    } else {
      dup2(out.write, STDOUT_FILENO);
    }
    dup2(input, STDIN_FILENO);
    dup2(err.write, STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    if (!settings.directory.empty() && chdir(settings.directory.c_str()) != 0) {
      _exit(126);
    }
    execve(STASIS_PROGRAM, argv.data(), envp.data());
    _exit(127);
  }
  close(input);
  close_fd(out.write);
  close_fd(err.write);
  out_fd_ = out.read;
  err_fd_ = err.read;
}

Process::~Process() {
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close_fd(out_fd_);
  close_fd(err_fd_);
}

void Process::kill(int signal) const {
  ::kill(pid_, signal);
}

void Process::stop_reading() {
  close_fd(out_fd_);
}

void Process::read_available(int timeout_ms) {
  std::array<pollfd, 2> polls = {{{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}}};
  if (poll(polls.data(), polls.size(), timeout_ms) <= 0) {
    return;
  }
  std::array<char, 65536> buffer = {};
  for (const auto& [entry, text] :
       {std::pair{&out_fd_, &outcome_.out}, std::pair{&err_fd_, &outcome_.err}}) {
    if (*entry < 0 || (polls[entry == &out_fd_ ? 0 : 1].revents & (POLLIN | POLLHUP)) == 0) {
      continue;
    }
    const ssize_t count = read(*entry, buffer.data(), buffer.size());
    if (count > 0) {
      text->append(buffer.data(), static_cast<std::size_t>(count));
    } else if (count == 0) {
      close_fd(*entry);
    }
  }
}

bool Process::is_running() {
  if (!reaped_ && waitpid(pid_, &status_, WNOHANG) == pid_) {
    reaped_ = true;
  }
  return !reaped_;
}

bool Process::wait_for_output(const std::string& text, std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (outcome_.out.find(text) == std::string::npos) {
    if (out_fd_ < 0 || std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    read_available(100);
  }
  return true;
}

Outcome Process::wait(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (out_fd_ >= 0 || err_fd_ >= 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGKILL);
      ADD_FAILURE() << "the program hangs; so far it said: " << outcome_.out << outcome_.err;
      break;
    }
    read_available(100);
  }
  while (is_running()) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGKILL);
      ADD_FAILURE() << "the program closed its output but hangs";
    }
    usleep(1000);
  }
  outcome_.signaled = WIFSIGNALED(status_);
  outcome_.exit_code = outcome_.signaled ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
  return outcome_;
}

Outcome run(const std::vector<std::string>& arguments, const RunSettings& settings) {
  return Process(arguments, settings).wait();
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (fs::temp_directory_path() / "stasis-cli-XXXXXX").string();
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  EXPECT_TRUE(file.good()) << path;
}

std::vector<std::string> list(const std::string& directory) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  return fs::exists(path);
}

std::string why_no_kvm() {
  if (access("/dev/kvm", R_OK | W_OK) == 0) {
    return "";
  }
  return std::string("/dev/kvm cannot be used: ") + std::strerror(errno);
}

}  // namespace stasis::cli::test
