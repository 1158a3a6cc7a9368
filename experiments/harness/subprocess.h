// Runs one trial in a fresh process and waits for it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/result.h"

namespace stasis::experiments {

// Value.
struct ProcessResult {
  int exit_code = 0;            // 128 + the signal's number if a signal ended it.
  std::string standard_output;  // At most kOutputBytesMax.
  std::string standard_error;   // At most kOutputBytesMax.
  MonotonicNs spawned_at = 0;   // Just before the process was made.
  MonotonicNs ended_at = 0;     // When it had been waited for.
  std::int64_t cpu_ns = 0;      // User and system.
  std::uint64_t peak_rss_bytes = 0;
};
inline constexpr std::size_t kOutputBytesMax = std::size_t{8} << 20U;

struct ProcessOptions {
  std::chrono::nanoseconds timeout = std::chrono::minutes(5);  // Then it is killed.
  const std::atomic<bool>* cancel = nullptr;                   // Set: it is killed.
};

// argv[0] is the program's path. Errors: kNotFound (no such program), kTimeout (killed; the message
// holds what it wrote to standard error), kIo. A nonzero exit code is a result, not an error.
Result<ProcessResult> run_process(const std::vector<std::string>& argv,
                                  const ProcessOptions& options = {});

}  // namespace stasis::experiments
