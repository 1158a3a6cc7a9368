// What the fuzzers of a Linux guest's memory and of the ELF files around it execute; as
// fuzz/targets.h says. The tests run the committed corpus through the same functions.
#pragma once

#include <cstddef>
#include <span>

namespace stasis::fuzz {

// Two bytes say how many of the next are operations; the rest is a saved address space: refused as
// corrupt, or one that takes any operations, over any page tables, and can be saved and loaded
// again.
void address_space(std::span<const std::byte> input);
// Any bytes as a program: refused, or an image that keeps to its contract and is loaded into a
// guest that can be saved, or refused.
void program_image(std::span<const std::byte> input);
// Eight bytes are an offset, the rest is an ELF file that is asked for the function there.
void function_lookup(std::span<const std::byte> input);

}  // namespace stasis::fuzz
