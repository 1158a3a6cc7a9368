// What each tracker costs in words, what its costs grow with, and whether "auto" may take it. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace stasis::snapshot {

// For people; the figures are in trackers/cost_table.h. Value; static text.
struct TrackerCosts {
  std::string_view arming, first_write, collecting;
};
// Empty for a name that does not exist. Pure.
TrackerCosts tracker_costs(std::string_view name);

// What a cost that is counted in pages grows with.
enum class CostBasis : std::uint8_t { kMemory, kResident };

// Where a tracker looks: it decides what it makes of pages that are missing until they are touched,
// and what a live capture beside it can use.
enum class TrackerMeans : std::uint8_t {
  kHypervisor,   // The hypervisor's log: neither the host's mapping nor the bytes matter.
  kHostMapping,  // The host's mapping, which no other userfaultfd can watch then.
  kProtection,   // The hypervisor's protection where the backend has it, else kHostMapping.
  kContents,     // The bytes of every page.
};

// Value; static text.
struct TrackerModel {
  std::string_view name;
  TrackerCosts costs;
  CostBasis arming = CostBasis::kMemory;
  CostBasis collecting = CostBasis::kMemory;
  TrackerMeans means = TrackerMeans::kHypervisor;
  // While one vCPU's first write is answered, the others' wait.
  bool answers_one_by_one = false;
  // One sentence each, one of the two empty: what it has for "auto", or why "auto" never takes it.
  std::string_view merit = {};
  std::string_view objection = {};
};

// Every tracker. Of those that cost about the same "auto" takes the first.
std::span<const TrackerModel> tracker_models();
// Null for a name that does not exist.
const TrackerModel* find_tracker_model(std::string_view name);

}  // namespace stasis::snapshot
