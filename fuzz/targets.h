// What the fuzzers execute: functions that take any bytes and abort when a property does not hold.
// tests/snapshot runs the committed corpus through the same functions in every build.
#pragma once

#include <cstddef>
#include <span>

namespace stasis::fuzz {

// A manifest that is accepted survives encoding and decoding.
void manifest(std::span<const std::byte> input);
// A chunk table that is accepted survives encoding and decoding, and lies inside the payload.
void index(std::span<const std::byte> input);
// Any bytes are safe to decompress, and what is compressed comes back.
void page_codec(std::span<const std::byte> input);

}  // namespace stasis::fuzz
