// Sessions and snapshots as text and as JSON. The field names are documented in docs/cli.md.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/requests.h"
#include "core/capabilities.h"
#include "core/milestones.h"
#include "session/options.h"

namespace stasis::cli {

// One restore, measured. Value.
struct Trial {
  // Nanoseconds from kBegin by milestone, in the enumeration's order; nothing where not recorded.
  std::vector<std::optional<std::int64_t>> since_begin_ns;
  std::int64_t first_instruction_error_ns = 0;
  session::SessionCounters counters;
  std::optional<session::ResidencyReport> residency;
  std::vector<Exchange> exchanges;
};

Trial make_trial(const MilestoneLog& milestones, std::int64_t first_instruction_error_ns);

// A table of milestones; of several trials with minimum, median and 90th percentile.
std::string milestone_table(const std::vector<Trial>& trials);
nlohmann::ordered_json to_json(const Trial& trial);
// {"begin_to": {"first_instruction": {"min_ns", "median_ns", "p90_ns", "n"}, ...}}
nlohmann::ordered_json summary_json(const std::vector<Trial>& trials);

nlohmann::ordered_json to_json(const session::SessionCounters& counters);
// A line for each system call that a Linux guest made.
std::string syscall_table(const session::LinuxCounters& counters);
nlohmann::ordered_json to_json(const session::SaveReport& report);
// `tracker` is what was asked for.
nlohmann::ordered_json to_json(const session::DirtyReport& report, const std::string& tracker);
// "32 KiB in 8 ranges (tracker 'auto', which is dirty-log: armed in 3 ms, collected in 24.5 us)"
std::string describe(const session::DirtyReport& report, const std::string& tracker);
nlohmann::ordered_json to_json(const Availability& availability);
// "saved 'warm': 256 MiB of memory, 3.1 MiB written in 12 ms, guest paused for 13 ms\n"
std::string describe(const std::string& path, const session::SaveReport& report);

// The p-quantile (0 to 1) of `values`, linear between order statistics; `values` is not empty.
double quantile(std::vector<double> values, double p);

}  // namespace stasis::cli
