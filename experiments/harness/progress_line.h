// How far a run is and how long it will still take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "core/clock.h"

namespace stasis::experiments {

// "restore_latency [#####-----] 120/660, 3 min 20 s left: restore/lazy/1024M". Pure.
// `done` counts items of this and of earlier runs; the speed is judged by those of this run alone.
struct ProgressState {
  std::size_t done = 0, total = 0;
  std::size_t done_before = 0;  // By an earlier run that is continued.
  std::int64_t elapsed_ns = 0;
};
std::string format_progress(std::string_view label, const ProgressState& state,
                            std::string_view item);
// "3 min 20 s", "45 s", "1 h 02 min".
std::string format_duration(std::int64_t ns);

// Silent during the first second but for announce(). On a terminal one line, rewritten ten times a
// second and removed at the end; elsewhere a line every ten seconds. Not thread-safe.
class ProgressLine {
 public:
  // `stream` is borrowed; null: nothing is shown.
  ProgressLine(std::string label, std::FILE* stream, const Clock& clock = host_clock());
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ProgressLine(ProgressLine&&) = delete;
  ProgressLine& operator=(ProgressLine&&) = delete;

  // A line that stays, before begin(): what is going to be done.
  void announce(std::string_view text);
  void begin(std::size_t done_before, std::size_t total);
  void update(std::size_t done, std::string_view item);
  // A step before the trials, of unknown length: "preparing 1024M snapshot".
  void note(std::string_view text);

 private:
  [[nodiscard]] bool is_due();
  void show(const std::string& line);

  std::string label_;
  std::FILE* stream_;
  const Clock& clock_;
  bool is_terminal_ = false;
  bool shown_ = false;
  MonotonicNs began_at_;
  MonotonicNs due_at_;
  ProgressState state_;
};

}  // namespace stasis::experiments
