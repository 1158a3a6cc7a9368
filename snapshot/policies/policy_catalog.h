// From a policy to a plan. A policy is a composition (policy_spec.h) in a file of its own
// (policy_file.h); making its plan is a pure function of it and of what a snapshot is.
//
// Memory that is *filled* or *missing* is compared with its checksums before the guest sees it.
// What is *mapped* is NOT: the guest sees the bytes that the file holds when it touches them. A
// payload that is too short is refused; other damage shows only in `stasis verify` or under another
// policy.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/result.h"
#include "snapshot/policies/policy_spec.h"
#include "snapshot/restore/plan.h"

namespace stasis::snapshot {

// What `stasis invoke` does unless it is told otherwise.
inline constexpr std::string_view kWorkingSetPolicy = "working-set";

// Value.
struct PolicyOptions {
  std::uint32_t threads = 1;  // Of the filling steps; 1 .. 256.
  Verify verify = Verify::kOn;
  HugePages huge_pages = HugePages::kTransparent;
  ReadAhead read_ahead = ReadAhead::kNormal;  // Of mappings.
  // At most this many mappings; the smallest extents beyond it are filled. Far below Linux's
  // vm.max_map_count of 65530, because every mapping costs more than a microsecond and makes each
  // fault look longer.
  std::uint32_t mappings_max = 512;
  // Extents below this are filled: copying a few pages is cheaper than mapping them...
  std::uint64_t map_bytes_min = std::uint64_t{16} << 10U;
  // ...but a snapshot that takes no more mappings than this is mapped whole: the first byte that is
  // filled into a fresh huge page makes the host clear 2 MiB, which costs more than ten mappings.
  std::uint32_t map_all_max = 32;
  // Runs of zero pages up to this size do not end a mapping of a file that holds them as a hole.
  std::uint64_t bridge_bytes_max = std::uint64_t{1} << 20U;
};

// The policies in this order; those that this backend cannot use say why. For `stasis doctor`.
std::vector<Availability> list_policies(const Capabilities& capabilities);

// Of one composition.
Availability probe_policy(const PolicySpec& spec, const Capabilities& capabilities);

// kInvalidArgument for impossible options, or a composition that check_spec() refuses. The plan
// passes check_plan().
Result<RestorePlan> make_plan(const PolicySpec& spec, const PlanInput& input,
                              const PolicyOptions& options = {});
// Of a named policy; kInvalidArgument for an unknown name (the message lists them all).
Result<RestorePlan> make_plan(std::string_view policy, const PlanInput& input,
                              const PolicyOptions& options = {});

}  // namespace stasis::snapshot
