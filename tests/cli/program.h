// Runs the program `stasis` as a user would: in its own process, with its own directory.
#pragma once

#include <nlohmann/json.hpp>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace stasis::cli::test {

struct Outcome {
  int exit_code = -1;  // 128 + n when signal n ended it.
  bool signaled = false;
  std::string out;
  std::string err;
  // Of `out`; a test failure if it is not exactly one JSON object.
  [[nodiscard]] nlohmann::json json() const;
};

struct RunSettings {
  std::string directory = {};                           // Working directory; empty: the test's own.
  std::string input = {};                               // Standard input.
  std::map<std::string, std::string> environment = {};  // Added to the test's.
  std::string stdout_path = {};                         // Instead of capturing, e.g. "/dev/full".
};

// A process that runs. Killed by the destructor.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const RunSettings& settings);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill(int signal) const;
  // Ends the test with a failure if the process does not end in time: nothing may hang.
  Outcome wait(std::chrono::seconds timeout = std::chrono::seconds(50));
  [[nodiscard]] bool is_running();
  // Whether its standard output holds `text`, as soon as it does. False when it never will, or
  // after `timeout`.
  [[nodiscard]] bool wait_for_output(const std::string& text,
                                     std::chrono::seconds timeout = std::chrono::seconds(50));
  // Closes the reading end of its standard output.
  void stop_reading();

 private:
  void read_available(int timeout_ms);

  pid_t pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  bool reaped_ = false;
  int status_ = 0;
  Outcome outcome_;
};

Outcome run(const std::vector<std::string>& arguments, const RunSettings& settings = {});

// A directory of its own, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& content);
// Names in the directory, sorted.
std::vector<std::string> list(const std::string& directory);
[[nodiscard]] bool exists(const std::string& path);

// Whether this host can run guests, and if not why, for GTEST_SKIP.
[[nodiscard]] std::string why_no_kvm();

}  // namespace stasis::cli::test
