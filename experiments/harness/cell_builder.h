// Collects the cells of an experiment and the snapshots that they need.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/harness/driver.h"
#include "experiments/harness/workload.h"

namespace stasis::experiments {

// Where a guest's dirty pages lie.
enum class Spread : std::uint8_t {
  kClustered,  // In one run.
  kScattered,  // Single pages at equal distances.
};

// Requests to pagetoucher. `percent` is of the pages that it numbers; 0: one page.
//
// Visits pages in random order and writes to 30 % of them.
std::string touch_request(std::uint64_t mib, std::uint32_t percent);
// Writes to the first pages, or to single pages at equal distances all over memory, which is the
// hard case for extents.
std::string dirty_request(std::uint64_t mib, std::uint32_t percent, Spread spread);

std::string bytes_of(std::uint64_t mib);  // In decimal digits.
std::string on_off(bool on);

// Value; grows into an Experiment.
class CellBuilder {
 public:
  CellBuilder(std::string name, const Workload& workload) : workload_(workload) {
    experiment_.name = std::move(name);
  }
  Experiment finish() && { return std::move(experiment_); }
  [[nodiscard]] const Workload& workload() const { return workload_; }

  // A full snapshot of `mib` MiB with its first `filled_mib` not zero. `extra` are more arguments
  // of the guest.
  void full_snapshot(const std::string& name, std::uint64_t mib, std::uint64_t filled_mib,
                     const std::string& extra, const std::string& layout, const std::string& codec);
  // What `request` changes of the guest in the snapshot `parent`.
  void diff_snapshot(const std::string& name, const std::string& parent,
                     const std::string& request);
  void prepare(std::string what, const std::string& product, TrialRequest trial);

  // A trial may take `fresh_mib` MiB of memory, and room for itself. The reference is good until
  // the next cell is added.
  PlannedCell& add(std::uint64_t fresh_mib, std::string id, Factors factors, std::string headline,
                   TrialRequest trial);

  struct Restore {
    std::string id;
    std::string snapshot;
    std::vector<std::string> parents = {};  // Of a differential snapshot: all of the chain.
    std::string policy;
    std::uint64_t mib = 0;
    std::uint32_t percent = 0;
    std::uint32_t threads = 1;
    bool verify = true;
    std::string headline;
    CacheState cache = CacheState::kWarm;
  };
  PlannedCell& restore(const Restore& wanted);

  // The requests above; the toy guest's only one for a guest that cannot be told.
  [[nodiscard]] std::string touch(std::uint64_t mib, std::uint32_t percent) const;
  [[nodiscard]] std::string dirty(std::uint64_t mib, std::uint32_t percent, Spread spread) const;

 private:
  Workload workload_;
  Experiment experiment_;
};

void with_floor(PlannedCell& planned, std::string cell, std::string metric);

}  // namespace stasis::experiments
