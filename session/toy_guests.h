// Toy guests for the mock backend: the same doorbells as a bare guest (docs/guest-abi.md), so that
// everything above a backend can be tried on hosts without a hypervisor.
//
//   counter  prints a line, becomes ready, answers every request with "count=" and how many it has
//            had, in eight digits, and writes that number to nine pages. Exits with the count when
//            a request begins with "exit".
//   busy     as counter, but vCPU 0 computes between ready and every request: it is in the guest
//            whenever it is paused.
//   exit     exits with code 3 before it is ready.
//   fault    runs into an illegal instruction.
//   panic    rings the panic doorbell with a message.
//   spin     never becomes ready.
//   deaf     becomes ready and never answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/guest_memory.h"
#include "core/result.h"
#include "guests/loader.h"

namespace stasis::session {

std::vector<std::string> list_toy_guests();

// Writes the program to abi::kImageAddress. kNotFound lists the toy guests.
Result<guests::LoadedGuest> load_toy_guest(std::string_view name, GuestMemory& memory,
                                           std::uint32_t vcpus);

}  // namespace stasis::session
