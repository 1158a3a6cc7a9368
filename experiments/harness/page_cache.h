// The page cache as a controlled variable: files are made cold or warm, and then looked at.
//
// Only pages that hold data count: reading a hole of a sparse payload would fill the cache with
// zero pages that no restore ever asks for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace stasis::experiments {

enum class CacheState : std::uint8_t {
  kCold,  // Nothing of the files is in this host's page cache. An outer host may still cache them.
  kWarm,  // Every data page of the files is.
};
std::string_view name_of(CacheState state);

// Value.
struct CacheResidency {
  std::uint64_t data_pages = 0;    // Pages of the files' data segments.
  std::uint64_t cached_pages = 0;  // Of those: in the page cache.
  std::uint64_t dirty_pages = 0;   // Not yet written back; unknown to mincore, then 0.
  std::string_view method;         // "cachestat" or "mincore".
};

enum class ResidencyMethod : std::uint8_t {
  kBest,     // cachestat(2), Linux 6.5; mincore(2) where that is absent.
  kMincore,  // For hosts without cachestat, and for the test that both agree.
};

// Summed over `files`. kIo naming the file.
Result<CacheResidency> cache_residency(std::span<const std::string> files,
                                       ResidencyMethod method = ResidencyMethod::kBest);

// Brings all `files` into `state` and verifies it. kTimeout if the kernel did not comply (somebody
// has the file mapped, or memory is short); the message holds the counts.
Result<CacheResidency> set_cache_state(std::span<const std::string> files, CacheState state);

// The regular files below `directory`, sorted: all that a snapshot consists of. kNotFound, kIo.
Result<std::vector<std::string>> files_below(const std::string& directory);

}  // namespace stasis::experiments
