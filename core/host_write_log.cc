#include "core/host_write_log.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "core/check.h"

namespace stasis {
namespace {

constexpr std::uint64_t kBitsPerWord = 64;

// Bits [first, last] of one word, 0 <= first <= last < 64.
std::uint64_t mask_of(std::uint64_t first, std::uint64_t last) {
  return (UINT64_MAX << first) & (UINT64_MAX >> (kBitsPerWord - 1 - last));
}

}  // namespace

HostWriteLog::HostWriteLog(std::span<const GpaRange> ranges, std::uint64_t page_size_bytes)
    : page_size_bytes_(page_size_bytes) {
  for (const GpaRange& range : ranges) {
    const std::uint64_t pages = range.size / page_size_bytes;
    const std::uint64_t words = (pages + kBitsPerWord - 1) / kBitsPerWord;
    auto* memory = static_cast<std::uint64_t*>(std::calloc(words, sizeof(std::uint64_t)));
    STASIS_CHECK(memory != nullptr || words == 0);
    Section section;
    section.range = range;
    section.words.reset(memory);
    section.word_count = words;
    sections_.push_back(std::move(section));
  }
}

void HostWriteLog::mark(GpaRange range) noexcept {
  for (Section& section : sections_) {
    const Gpa begin = std::max(range.begin, section.range.begin);
    const Gpa end = std::min(range.end(), section.range.end());
    if (begin >= end) {
      continue;
    }
    const std::uint64_t first = (begin.value - section.range.begin.value) / page_size_bytes_;
    const std::uint64_t last = (end.value - 1 - section.range.begin.value) / page_size_bytes_;
    for (std::uint64_t word = first / kBitsPerWord; word <= last / kBitsPerWord; ++word) {
      const std::uint64_t base = word * kBitsPerWord;
      const std::uint64_t mask =
          mask_of(std::max(first, base) - base, std::min(last - base, kBitsPerWord - 1));
      // Relaxed: pausing the Machine orders the bits with the bytes that they stand for.
      std::atomic_ref(section.words[word]).fetch_or(mask, std::memory_order_relaxed);
    }
  }
}

GpaRanges HostWriteLog::collect() {
  GpaRanges ranges;
  for (Section& section : sections_) {
    for (std::uint64_t word = 0; word < section.word_count; ++word) {
      std::atomic_ref bits_of_word(section.words[word]);
      if (bits_of_word.load(std::memory_order_relaxed) == 0) {
        continue;  // Reading keeps untouched words on the shared zero page.
      }
      std::uint64_t bits = bits_of_word.exchange(0, std::memory_order_relaxed);
      while (bits != 0) {
        const auto page = word * kBitsPerWord + static_cast<std::uint64_t>(std::countr_zero(bits));
        const Gpa begin = section.range.begin + page * page_size_bytes_;
        if (!ranges.empty() && ranges.back().end() == begin) {
          ranges.back().size += page_size_bytes_;
        } else {
          ranges.push_back({begin, page_size_bytes_});
        }
        bits &= bits - 1;
      }
    }
  }
  return ranges;
}

void HostWriteLog::clear() noexcept {
  for (Section& section : sections_) {
    for (std::uint64_t word = 0; word < section.word_count; ++word) {
      std::atomic_ref bits(section.words[word]);
      if (bits.load(std::memory_order_relaxed) != 0) {
        bits.store(0, std::memory_order_relaxed);
      }
    }
  }
}

}  // namespace stasis
