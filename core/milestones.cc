#include "core/milestones.h"

namespace stasis {

std::string_view name_of(Milestone milestone) {
  switch (milestone) {
    case Milestone::kSpawn:
      return "spawn";
    case Milestone::kBegin:
      return "begin";
    case Milestone::kHeader:
      return "header";
    case Milestone::kVmCreated:
      return "vm_created";
    case Milestone::kState:
      return "state";
    case Milestone::kMapped:
      return "mapped";
    case Milestone::kPrefetched:
      return "prefetched";
    case Milestone::kVcpuEnter:
      return "vcpu_enter";
    case Milestone::kFirstInstruction:
      return "first_instruction";
    case Milestone::kFirstResponse:
      return "first_response";
    case Milestone::kResidentP90:
      return "resident_p90";
    case Milestone::kDone:
      return "done";
  }
  return "unknown milestone";
}

void MilestoneLog::record_at(Milestone milestone, MonotonicNs at) noexcept {
  MonotonicNs unset = 0;
  // Relaxed: the log orders nothing; readers synchronise with the writers by other means.
  at_[static_cast<std::size_t>(milestone)].compare_exchange_strong(unset, at,
                                                                   std::memory_order_relaxed);
}

std::optional<MonotonicNs> MilestoneLog::at(Milestone milestone) const noexcept {
  const MonotonicNs at = at_[static_cast<std::size_t>(milestone)].load(std::memory_order_relaxed);
  return at == 0 ? std::nullopt : std::optional<MonotonicNs>(at);
}

std::optional<std::int64_t> MilestoneLog::since_begin(Milestone milestone) const noexcept {
  const std::optional<MonotonicNs> begin = at(Milestone::kBegin);
  const std::optional<MonotonicNs> then = at(milestone);
  if (!begin || !then) {
    return std::nullopt;
  }
  return *then - *begin;
}

}  // namespace stasis
