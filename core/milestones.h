// The milestones of a restore: the same for every policy and backend, on one clock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/clock.h"

namespace stasis {

// Roughly in the order in which they happen: header and vm_created come about at once, and a lazy
// policy may be `done` long after first_response.
enum class Milestone : std::uint8_t {
  kSpawn,             // The process was started (by the caller's clock; absent in-process).
  kBegin,             // The restore was asked for.
  kHeader,            // Manifest chain read and validated.
  kVmCreated,         // The hypervisor's VM exists.
  kState,             // All vCPU and device state is loaded.
  kMapped,            // Guest RAM is registered as far as the first instruction needs it.
  kPrefetched,        // The policy's eager part is in memory.
  kVcpuEnter,         // The first entry into the guest.
  kFirstInstruction,  // The guest's own clock at its first instruction.
  kFirstResponse,     // The first response to a request.
  kResidentP90,       // 90 % of the pages resident at first_response are; only when it was sampled.
  kDone,              // No restore work is left.
};
inline constexpr std::size_t kMilestoneCount = 12;
std::string_view name_of(Milestone milestone);  // "first_instruction", as in run records.

// Each milestone is set once, the first time; later calls are ignored. Thread-safe: a relaxed
// compare-exchange a milestone; readers look after they have synchronised with the writers.
class MilestoneLog {
 public:
  explicit MilestoneLog(const Clock& clock = host_clock()) : clock_(clock) {}

  void record(Milestone milestone) noexcept { record_at(milestone, clock_.now()); }
  void record_at(Milestone milestone, MonotonicNs at) noexcept;
  [[nodiscard]] std::optional<MonotonicNs> at(Milestone milestone) const noexcept;
  // Nanoseconds from kBegin; nothing unless both were recorded.
  [[nodiscard]] std::optional<std::int64_t> since_begin(Milestone milestone) const noexcept;

 private:
  const Clock& clock_;
  std::array<std::atomic<MonotonicNs>, kMilestoneCount> at_ = {};  // 0: not recorded.
};

}  // namespace stasis
