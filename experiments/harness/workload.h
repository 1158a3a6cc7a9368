// What the experiments measure with: how large the guests are, and what a backend's guests can do.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/harness/plan.h"

namespace stasis::experiments {

// How large everything is. Value.
struct Sizes {
  std::uint64_t small_mib = 256;  // Eager and differential work.
  std::uint64_t middle_mib = 1024;
  std::uint64_t large_mib = 4096;  // Only to show that lazy restore does not depend on the size.
};

// A guest that answers requests and touches pages when told. Value.
struct Workload {
  std::string backend;
  Sizes sizes;
  bool has_bare_kvm_floor = false;
  bool is_toy = false;    // The mock's guest: it cannot be told which pages to touch.
  bool is_quick = false;  // Small guests, few cells.
};

Workload full_workload(const std::string& backend);
Workload quick_workload(const std::string& backend);
// The workload that a plan was made from, by its scale and backend.
Workload workload_of(const Plan& plan);

inline constexpr std::uint64_t kPagesPerMib = 256;
// Of a guest's memory, what its own program, stacks and mailbox need and the pages that pagetoucher
// numbers therefore do not cover, with room to spare.
inline constexpr std::uint64_t kReservedMib = 8;

// Of a guest of `mib` MiB: what pagetoucher can be told to touch.
constexpr std::uint64_t usable_mib(std::uint64_t mib) {
  return mib - kReservedMib;
}
std::string size_name(std::uint64_t mib);  // "256M"

}  // namespace stasis::experiments
