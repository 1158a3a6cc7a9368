// The bitmaps in which KVM tells and is told of dirty pages: one bit a page of a slot, counted from
// the slot's own first page. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/address.h"
#include "core/ranges.h"

namespace stasis::kvm {

inline constexpr std::uint64_t kBitmapPageBytes = 4096;
inline constexpr std::uint64_t kBitsPerWord = 64;

constexpr std::size_t bitmap_words(std::uint64_t slot_bytes) {
  return (slot_bytes / kBitmapPageBytes + kBitsPerWord - 1) / kBitsPerWord;
}

// Appends the runs of set bits, joined to the last range where they touch it, also across slots.
void append_runs(std::span<const std::uint64_t> bitmap, Gpa slot_begin, GpaRanges& ranges);

// Whole words of a bitmap. Value.
struct WordSpan {
  std::size_t first = 0, count = 0;
  friend bool operator==(const WordSpan&, const WordSpan&) = default;
};

// Spans that together hold every set bit, in order and disjoint: at most `longest` words each, with
// less than `gap` empty words in a row inside.
std::vector<WordSpan> dirty_spans(std::span<const std::uint64_t> bitmap, std::size_t gap,
                                  std::size_t longest);

}  // namespace stasis::kvm
