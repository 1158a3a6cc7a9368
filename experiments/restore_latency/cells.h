// What restore_latency measures: its cells, as data. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/harness/cell_builder.h"
#include "experiments/harness/definition.h"
#include "experiments/harness/driver.h"
#include "experiments/harness/workload.h"

namespace stasis::experiments {

Experiment restore_latency_experiment(const Workload& workload);
Experiment floor_experiment(const Workload& workload);
const Definition& restore_latency_definition();
const Definition& floor_definition();

// The ids of cells that other cells and checks refer to.
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
