// What a DoorbellDevice saves, and its encoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "core/result.h"

namespace stasis::guests {

// Value.
struct DoorbellState {
  std::uint64_t mailbox = 0;        // Where the mailbox is: a state fits that place only.
  bool rung = false;                // Has the guest ever rung a doorbell?
  std::uint32_t service_vcpu = 0;   // Rang kReady, kWait or kRespond last: woken by requests.
  std::uint64_t delivered_seq = 0;  // Number of the request in the mailbox.
  std::uint64_t responded_seq = 0;  // delivered_seq, or one less while that one is being answered.
  std::uint64_t restore_count = 0;
  std::deque<std::vector<std::byte>> queue = {};  // Empty unless a request is being answered.
  friend bool operator==(const DoorbellState&, const DoorbellState&) = default;
};

// Version of the encoding below: DeviceState::version.
inline constexpr std::uint32_t kDoorbellStateVersion = 1;

// Little-endian: mailbox u64, rung u32, service_vcpu u32, delivered_seq u64, responded_seq u64,
// restore_count u64, queue length u32, then each request as length u32 and bytes.
std::vector<std::byte> encode_doorbell_state(const DoorbellState& state);

// Accepts exactly what encode_doorbell_state() writes for a state that a device can be in.
// kCorruption naming the field.
Result<DoorbellState> decode_doorbell_state(std::span<const std::byte> bytes);

}  // namespace stasis::guests
