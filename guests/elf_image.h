// A parser for the static ELF64 executables that bare guests are. It trusts no byte of the file.
// Source: System V ABI, chapter 4 (object files) and 5 (program loading); ELF-64 object format 1.5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "core/vcpu_state.h"

namespace stasis::guests {

// One PT_LOAD program header. `memory_bytes` >= `file.size()`; the rest is zero.
struct ElfSegment {
  GpaRange range;                   // In guest memory.
  std::span<const std::byte> file;  // Borrowed from the image.
};

// Value; borrows the bytes it was parsed from. The segments are not empty, ascending and disjoint,
// and the entry point lies in an executable one.
struct ElfImage {
  Architecture architecture = Architecture::kX86_64;
  Gpa entry;
  std::vector<ElfSegment> segments;

  [[nodiscard]] GpaRange extent() const;  // From the first segment's begin to the last one's end.
};

inline constexpr std::size_t kElfSegmentsMax = 64;

// `name` is the file's name, for messages. Errors as load_guest().
Result<ElfImage> parse_elf(std::span<const std::byte> bytes, std::string_view name);

}  // namespace stasis::guests
