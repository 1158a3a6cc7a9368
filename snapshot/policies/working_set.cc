// The lazy policy, and what a recorded run touched is brought in while the guest begins: pages that
// it wrote as copies of their own, then pages that it read as the file's. A guest that does the
// same again finds its memory where it would have waited for the host, fault by fault. Written ones
// come first, because they cost the guest most.
#include <string>
#include <vector>

#include "snapshot/policies/policy_catalog.h"

namespace stasis::snapshot {

RestorePlan plan_working_set(const PlanInput& input, const PolicyOptions& options) {
  RestorePlan plan = plan_lazy(input, options);
  plan.policy = kWorkingSetPolicy;
  if (!input.touched) {
    plan.notes.emplace_back("no working set is recorded, so nothing is brought in beforehand");
    return plan;
  }
  std::uint64_t left_out = 0;
  std::vector<PopulatePiece> reads;
  for (const PopulatePiece& piece : *input.touched) {
    // Recorded where pages are smaller than here.
    if (!is_aligned(piece.range.begin.value, input.host_page_size_bytes) ||
        !is_aligned(piece.range.size, input.host_page_size_bytes)) {
      ++left_out;
      continue;
    }
    (piece.access == PopulateFor::kWriting ? plan.populate : reads).push_back(piece);
  }
  plan.populate.insert(plan.populate.end(), reads.begin(), reads.end());
  if (left_out != 0) {
    plan.notes.push_back(std::to_string(left_out) + " of " + std::to_string(input.touched->size()) +
                         " recorded runs are no whole pages of this host");
  }
  return plan;
}

}  // namespace stasis::snapshot
