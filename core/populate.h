// Bringing pages of guest RAM into this process before anyone touches them.
//
// The host gives a process its pages one fault at a time. Where it is known which pages a guest
// will touch, one call for each run of them costs a fraction. Nothing that can be seen in the
// memory changes: a page that could not be brought in comes with its first touch, as it would have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"

namespace stasis {

enum class PopulateFor : std::uint8_t {
  kReading,  // What the mapping shows: of a private file its page in the page cache.
  kWriting,  // A page of this process's own, as if it had been written without a change.
};

// Whole pages of the host inside one region. Value.
struct PopulatePiece {
  GpaRange range;
  PopulateFor access = PopulateFor::kReading;
  friend bool operator==(const PopulatePiece&, const PopulatePiece&) = default;
};

namespace internal {

// Does nothing without the host's service (Linux 5.14).
void populate(std::span<std::byte> bytes, PopulateFor access);

}  // namespace internal
}  // namespace stasis
