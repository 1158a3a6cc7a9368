// What restore_latency measures: its cells, as data. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/harness/driver.h"

namespace stasis::experiments {

// Where a guest's dirty pages lie.
enum class Spread : std::uint8_t {
  kClustered,  // In one run.
  kScattered,  // Single pages at equal distances.
};

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
  bool is_toy = false;  // The mock's guest: it cannot be told which pages to touch.
};

Workload full_workload(const std::string& backend);
Workload quick_workload(const std::string& backend);
// The workload that a plan was made from, by its scale and backend.
Workload workload_of(const Plan& plan);

Experiment restore_latency_experiment(const Workload& workload);
Experiment floor_experiment(const Workload& workload);

// The ids of cells that other cells and checks refer to.
std::string size_name(std::uint64_t mib);  // "256M"
std::string bare_kvm_id(std::uint64_t mib);
std::string pread_floor_id(const Sizes& sizes);
std::string lz4_floor_id(const Sizes& sizes);
std::string save_floor_id(const Sizes& sizes);
std::string lazy_id(std::uint64_t mib);  // One page touched, warm.
std::string touching_id(const std::string& policy, std::uint64_t mib, std::uint32_t percent,
                        CacheState cache);  // 0 percent: one page.
std::string eager_id(const Sizes& sizes, std::uint32_t threads, bool verify);
std::string eager_lz4_id(const Sizes& sizes, std::uint32_t threads, bool verify);
std::string save_full_id(const Sizes& sizes, std::uint32_t threads, bool sync);
std::string save_diff_id(const Sizes& sizes, std::uint32_t percent, Spread spread);

// The shares of a guest's pages that differential saves find dirty.
inline constexpr std::uint32_t kDirtyPercents[] = {1, 2, 5, 10, 25, 50, 75, 100};
inline constexpr std::uint32_t kScatteredPercents[] = {1, 2, 5, 10, 25, 50};

}  // namespace stasis::experiments
