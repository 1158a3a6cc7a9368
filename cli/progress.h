// Progress of anything that takes more than a second, on standard error.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.h"

namespace stasis::cli {

enum class ProgressMode : std::uint8_t {
  kTerminal,  // One line, rewritten ten times a second, removed at the end.
  kLog,       // A line every ten seconds: for pipes and CI logs.
  kOff,
};

// Silent during the first second. Not thread-safe.
class Progress {
 public:
  // `clock` and the file descriptor `sink` are borrowed.
  Progress(std::string label, ProgressMode mode, const Clock& clock = host_clock(),
           int sink = STDERR_FILENO);
  ~Progress();  // Removes the line.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  Progress(Progress&&) = delete;
  Progress& operator=(Progress&&) = delete;

  // Of a known amount; `total_bytes` may be 0.
  void update(std::uint64_t done_bytes, std::uint64_t total_bytes);
  // Of an unknown amount: shows the time.
  void tick();

 private:
  [[nodiscard]] bool is_due();
  void show(const std::string& text);
  void write_out(const std::string& text) const;

  std::string label_;
  ProgressMode mode_;
  const Clock& clock_;
  int sink_;
  MonotonicNs begin_;
  MonotonicNs next_;
  bool shown_ = false;
};

}  // namespace stasis::cli
