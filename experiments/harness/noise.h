// Was the host quiet while a trial ran? Rows of a busy host are kept and marked, never dropped.
//
// The gates, and why they have these values on a small virtual machine: docs/measuring.md, "Noise".
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/result.h"

namespace stasis::experiments {

// The host's counters at one moment. Value. Times are totals since boot (or, for own_cpu_ns, since
// the process began).
struct NoiseSample {
  MonotonicNs at = 0;
  double psi_cpu_avg10 = 0;     // Percent of time with a runnable task waiting for a CPU.
  std::int64_t psi_cpu_ns = 0;  // The same as a total.
  std::int64_t steal_ns = 0;    // Taken by the outer hypervisor, summed over CPUs.
  std::int64_t busy_ns = 0;     // All CPUs, not idle and not waiting for I/O, without steal.
  std::int64_t own_cpu_ns = 0;  // This process and the children it has waited for.
  double load_average = 0;      // One minute.
  std::uint32_t cpus = 1;
  bool has_psi = false;  // /proc/pressure exists.
};

// Value.
struct NoiseGates {
  double psi_cpu_avg10_max = 10;     // Percent.
  double steal_share_max = 0.02;     // Of all CPU time of the window.
  double foreign_cpus_max = 0.25;    // CPUs that other programs kept busy over the window.
  double load_average_margin = 0.5;  // Above the number of CPUs.
};

// What is written to the row. Value.
struct NoiseReading {
  double psi_cpu_avg10 = 0;
  double steal_share = 0;
  double foreign_cpus = 0;
  double load_average = 0;
  double window_s = 0;
  std::vector<std::string> reasons;  // Why the trial is tainted; empty: it is not.
};

// The differences between two samples held against the gates. Pure.
NoiseReading judge_noise(const NoiseSample& before, const NoiseSample& after,
                         const NoiseGates& gates);

// Parsers of /proc/pressure/cpu and of the first line of /proc/stat into `sample`. Pure.
Result<void> parse_pressure(std::string_view text, NoiseSample& sample);
Result<void> parse_stat(std::string_view text, std::int64_t ns_per_tick, NoiseSample& sample);

// Reads the host. Missing files leave their fields 0: an old kernel has no pressure information.
NoiseSample sample_noise();

// Judges each trial over a window of at least a second that ends with it: /proc/stat counts in
// ticks of 10 ms, so a trial of 2 ms alone could not be judged. Not thread-safe.
class NoiseMonitor {
 public:
  explicit NoiseMonitor(NoiseGates gates = {});
  // Call after each trial.
  NoiseReading judge();

 private:
  NoiseGates gates_;
  std::deque<NoiseSample> samples_;  // Oldest first; the oldest is at least the window old.
};

}  // namespace stasis::experiments
