// One trial as one line of JSON. docs/measuring.md documents every field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/noise.h"
#include "experiments/harness/plan.h"

namespace stasis::experiments {

// Raised when the meaning of a field changes; new fields do not raise it.
inline constexpr std::uint32_t kRowSchema = 1;

// How the page cache stood when the trial began. Value.
struct CacheReport {
  std::string asked = {};  // "cold", "warm", or "any" where it does not matter.
  bool verified = false;   // The counts below were read after the state had been set.
  std::uint64_t data_pages = 0;
  std::uint64_t cached_pages = 0;
  std::string method = {};
  friend bool operator==(const CacheReport&, const CacheReport&) = default;
};

// Value.
struct Row {
  std::string experiment;
  std::string plan;  // plan_id().
  std::string backend;
  std::uint64_t seed = 0;
  std::string cell;
  Factors factors;
  std::uint32_t block = 0;
  std::uint32_t order = 0;
  bool warmup = false;
  std::int64_t wall_ns = 0;  // Unix time of the trial's end.
  CacheReport cache;
  NoiseReading noise;  // tainted = there are reasons.
  std::map<std::string, double> metrics;
  std::string proof;  // What the guest answered, where the trial proves the restore.
  std::string error;  // The trial failed; metrics are then incomplete.
  bool quotable = false;

  [[nodiscard]] bool tainted() const { return !noise.reasons.empty(); }
};

// A line with its newline. Numbers that JSON cannot hold (NaN, infinity) are left out.
std::string to_json_line(const Row& row, const HostFacts& host);
// `where` is for the message: "rows.jsonl:17". Errors: kCorruption, kMismatch (another schema).
Result<Row> row_from_json(std::string_view line, const std::string& where);

// All rows of a file. A last line without newline is what a crash left of a row: it is ignored.
Result<std::vector<Row>> read_rows(const std::string& path);
// The host facts of the first row; nothing if there is no row.
Result<HostFacts> read_host_facts(const std::string& path);

}  // namespace stasis::experiments
