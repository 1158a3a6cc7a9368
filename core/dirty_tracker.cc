#include "core/dirty_tracker.h"

#include <utility>

namespace stasis {

Result<void> DirtyTracker::overlook(const GpaRanges& /*ranges*/,
                                    const std::function<Result<void>()>& write) {
  STASIS_TRY(write());
  if (!traits().sees_host_writes) {
    return {};
  }
  Result<GpaRanges> own = collect();  // Nobody else has written since the last one.
  return own ? Result<void>() : Result<void>(std::move(own).error());
}

}  // namespace stasis
