#include "experiments/harness/noise.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sstream>

#include "experiments/harness/text_file.h"

namespace stasis::experiments {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kWindowNs = kNsPerSecond;

std::int64_t cpu_ns(const rusage& usage) {
  const auto nanoseconds = [](const timeval& time) {
    return std::int64_t{time.tv_sec} * kNsPerSecond + std::int64_t{time.tv_usec} * 1000;
  };
  return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
}

}  // namespace

Result<void> parse_pressure(std::string_view text, NoiseSample& sample) {
  // "some avg10=0.00 avg60=0.00 avg300=0.14 total=8245289": total in microseconds.
  std::istringstream words{std::string(text.substr(0, text.find('\n')))};
  std::string word;
  bool has_average = false;
  bool has_total = false;
  while (words >> word) {
    if (word.starts_with("avg10=")) {
      sample.psi_cpu_avg10 = std::strtod(word.c_str() + 6, nullptr);
      has_average = true;
    } else if (word.starts_with("total=")) {
      sample.psi_cpu_ns = std::strtoll(word.c_str() + 6, nullptr, 10) * 1000;
      has_total = true;
    }
  }
  if (!text.starts_with("some ") || !has_average || !has_total) {
    return Error{.code = Errc::kCorruption,
                 .message = "/proc/pressure/cpu: no line 'some avg10=... total=...'"};
  }
  sample.has_psi = true;
  return {};
}

Result<void> parse_stat(std::string_view text, std::int64_t ns_per_tick, NoiseSample& sample) {
  // "cpu  user nice system idle iowait irq softirq steal guest guest_nice" (man 5 proc); guest time
  // is already contained in user and nice.
  std::istringstream words{std::string(text.substr(0, text.find('\n')))};
  std::string name;
  std::array<std::int64_t, 8> ticks = {};
  words >> name;
  for (std::int64_t& value : ticks) {
    words >> value;
  }
  if (name != "cpu" || words.fail()) {
    return Error{.code = Errc::kCorruption,
                 .message = "/proc/stat: the first line is not 'cpu' with eight counters"};
  }
  sample.busy_ns = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * ns_per_tick;
  sample.steal_ns = ticks[7] * ns_per_tick;
  return {};
}

NoiseSample sample_noise() {
  NoiseSample sample;
  if (const auto text = read_text_file("/proc/pressure/cpu"); text) {
    // A format we do not know counts like a kernel without it: has_psi stays false.
    static_cast<void>(parse_pressure(*text, sample).has_value());
  }
  if (const auto text = read_text_file("/proc/stat"); text) {
    const long ticks_per_second = ::sysconf(_SC_CLK_TCK);
    static_cast<void>(
        parse_stat(*text, kNsPerSecond / std::max(1L, ticks_per_second), sample).has_value());
  }
  std::array<double, 1> load = {};
  if (::getloadavg(load.data(), 1) == 1) {
    sample.load_average = load[0];
  }
  rusage own{};
  rusage children{};
  ::getrusage(RUSAGE_SELF, &own);
  ::getrusage(RUSAGE_CHILDREN, &children);
  sample.own_cpu_ns = cpu_ns(own) + cpu_ns(children);
  sample.cpus = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  sample.at = host_clock().now();
  return sample;
}

NoiseReading judge_noise(const NoiseSample& before, const NoiseSample& after,
                         const NoiseGates& gates) {
  NoiseReading reading;
  const auto window = static_cast<double>(std::max<std::int64_t>(1, after.at - before.at));
  const auto cpus = static_cast<double>(after.cpus);
  reading.window_s = window * 1e-9;
  reading.psi_cpu_avg10 = after.psi_cpu_avg10;
  reading.load_average = after.load_average;
  reading.steal_share = static_cast<double>(after.steal_ns - before.steal_ns) / (window * cpus);
  const std::int64_t foreign =
      (after.busy_ns - before.busy_ns) - (after.own_cpu_ns - before.own_cpu_ns);
  reading.foreign_cpus = std::max(0.0, static_cast<double>(foreign) / window);

  if (reading.psi_cpu_avg10 > gates.psi_cpu_avg10_max) {
    reading.reasons.push_back(fmt::format("CPU pressure avg10: {:.1f} % > {:.1f} %",
                                          reading.psi_cpu_avg10, gates.psi_cpu_avg10_max));
  }
  if (reading.steal_share > gates.steal_share_max) {
    reading.reasons.push_back(fmt::format("steal: {:.1f} % > {:.1f} %", 100 * reading.steal_share,
                                          100 * gates.steal_share_max));
  }
  if (reading.foreign_cpus > gates.foreign_cpus_max) {
    reading.reasons.push_back(fmt::format("other programs: {:.2f} CPUs > {:.2f}",
                                          reading.foreign_cpus, gates.foreign_cpus_max));
  }
  if (reading.load_average > cpus + gates.load_average_margin) {
    reading.reasons.push_back(fmt::format("load average: {:.2f} > {:.2f}", reading.load_average,
                                          cpus + gates.load_average_margin));
  }
  return reading;
}

NoiseMonitor::NoiseMonitor(NoiseGates gates) : gates_(gates), samples_{sample_noise()} {}

NoiseReading NoiseMonitor::judge() {
  samples_.push_back(sample_noise());
  const NoiseSample& now = samples_.back();
  // Keep exactly one sample that is older than the window.
  while (samples_.size() > 2 && now.at - samples_[1].at >= kWindowNs) {
    samples_.pop_front();
  }
  return judge_noise(samples_.front(), now, gates_);
}

}  // namespace stasis::experiments
