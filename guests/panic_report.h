// Says in words why a guest panicked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/guest_memory.h"
#include "core/result.h"
#include "core/vcpu_state.h"
#include "guests/abi.h"

namespace stasis::guests {

// "page fault (#PF, vector 14) on vCPU 0 at rip 0x400123: ...". Any values are accepted.
std::string describe(const abi::X86TrapFrame& frame, std::uint32_t vcpu);
std::string describe(const abi::Arm64TrapFrame& frame, std::uint32_t vcpu);

// Reads the vCPU's trap frame from guest memory and describes it. kOutOfRange if it is not RAM.
Result<std::string> read_panic_report(const GuestMemory& memory, Gpa trap_frames,
                                      std::uint32_t vcpu, Architecture architecture);

// A guest's bytes, fit for a terminal: what is not printable ASCII becomes '.', trailing white
// space goes.
std::string printable(std::string_view text);

}  // namespace stasis::guests
