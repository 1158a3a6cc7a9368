#include "kvm/dirty_bitmap.h"

#include <bit>

namespace stasis::kvm {

void append_runs(std::span<const std::uint64_t> bitmap, Gpa slot_begin, GpaRanges& ranges) {
  for (std::size_t word = 0; word < bitmap.size(); ++word) {
    std::uint64_t bits = bitmap[word];
    while (bits != 0) {
      const auto first = static_cast<std::uint64_t>(std::countr_zero(bits));
      const auto count = static_cast<std::uint64_t>(std::countr_one(bits >> first));
      const Gpa begin = slot_begin + (word * kBitsPerWord + first) * kBitmapPageBytes;
      if (!ranges.empty() && ranges.back().end() == begin) {
        ranges.back().size += count * kBitmapPageBytes;
      } else {
        ranges.push_back({begin, count * kBitmapPageBytes});
      }
      // A shift by 64 is undefined, hence in two steps.
      bits = first + count == kBitsPerWord ? 0 : (bits >> (first + count)) << (first + count);
    }
  }
}

std::vector<WordSpan> dirty_spans(std::span<const std::uint64_t> bitmap, std::size_t gap,
                                  std::size_t longest) {
  std::vector<WordSpan> spans;
  for (std::size_t word = 0; word < bitmap.size(); ++word) {
    if (bitmap[word] == 0) {
      continue;
    }
    if (!spans.empty()) {
      WordSpan& last = spans.back();
      const std::size_t grown = word + 1 - last.first;
      if (word - (last.first + last.count) < gap && grown <= longest) {
        last.count = grown;
        continue;
      }
    }
    spans.push_back({word, 1});
  }
  return spans;
}

}  // namespace stasis::kvm
