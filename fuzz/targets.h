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
// A guest's ELF that is accepted keeps to its contract, survives being written and parsed again,
// and is loaded as it says or refused.
void elf_image(std::span<const std::byte> input);
// A doorbell state that is accepted encodes to the same bytes.
void doorbell_state(std::span<const std::byte> input);

}  // namespace stasis::fuzz
