// Guest-physical addresses, ranges of them, and the one bounds check of the project.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace stasis {

// A guest-physical address in bytes. Not an integer: adding two of them has no meaning, and a host
// pointer or a file offset must never be passed where one is wanted.
struct Gpa {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Gpa&, const Gpa&) = default;
};

constexpr Gpa operator+(Gpa gpa, std::uint64_t bytes) {
  return Gpa{gpa.value + bytes};
}

// [begin, begin + size) in bytes. `size` may be zero; a range made by make_range() never wraps.
struct GpaRange {
  Gpa begin;
  std::uint64_t size = 0;

  [[nodiscard]] constexpr Gpa end() const { return begin + size; }
  [[nodiscard]] constexpr bool contains(Gpa gpa) const {
    return gpa >= begin && gpa.value - begin.value < size;
  }
  friend constexpr bool operator==(const GpaRange&, const GpaRange&) = default;
};

// The overflow-safe form of `offset + length <= limit`, the only bounds check in this project.
constexpr bool fits(std::uint64_t offset, std::uint64_t length, std::uint64_t limit) {
  return offset <= limit && length <= limit - offset;
}

static_assert(fits(0, 8, 8) && !fits(1, 8, 8) && !fits(UINT64_MAX, 2, 8));

// Nothing when [begin, begin + size) would wrap around the 64-bit address space.
constexpr std::optional<GpaRange> make_range(Gpa begin, std::uint64_t size) {
  if (size > UINT64_MAX - begin.value) {
    return std::nullopt;
  }
  return GpaRange{begin, size};
}

// `alignment` is a power of two. align_up() wraps to 0 at the very top of the address space:
// callers check the range with make_range() first.
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) {
  return value & ~(alignment - 1);
}
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return align_down(value + alignment - 1, alignment);
}
constexpr bool is_aligned(std::uint64_t value, std::uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}

}  // namespace stasis
