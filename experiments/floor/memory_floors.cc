#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "core/clock.h"
#include "experiments/floor/floors.h"
#include "experiments/stats/random.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kPage = 4096;

void fill_page(std::span<std::byte> page, std::uint64_t kind, Random& random) {
  constexpr std::array<std::string_view, 8> kWords = {"snapshot ", "restore ", "the ",    "guest ",
                                                      "page ",     "of ",      "memory ", "fault "};
  switch (kind) {
    case 0: {  // Mostly zeros: sixteen words.
      std::fill(page.begin(), page.end(), std::byte{0});
      for (int i = 0; i < 16; ++i) {
        const std::uint64_t value = random.next();
        std::memcpy(&page[random.below(kPage / 8) * 8], &value, sizeof(value));
      }
      return;
    }
    case 1: {  // Pointers into one heap.
      for (std::size_t i = 0; i < page.size(); i += 8) {
        const std::uint64_t value = 0x00007F0000000000U + random.below(1U << 20U) * 16;
        std::memcpy(&page[i], &value, sizeof(value));
      }
      return;
    }
    case 2: {  // Text.
      std::size_t at = 0;
      while (at < page.size()) {
        const std::string_view word = kWords.at(random.below(kWords.size()));
        const std::size_t bytes = std::min(word.size(), page.size() - at);
        std::memcpy(&page[at], word.data(), bytes);
        at += bytes;
      }
      return;
    }
    default:  // Noise.
      for (std::size_t i = 0; i < page.size(); i += 8) {
        const std::uint64_t value = random.next();
        std::memcpy(&page[i], &value, sizeof(value));
      }
  }
}

}  // namespace

Result<std::int64_t> first_touch_ns(Backing backing, std::size_t bytes, const std::string& path) {
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const FreshMemory memory, FreshMemory::map(backing, bytes, path));
  memory.touch();
  return host_clock().now() - begin;
}

Result<std::int64_t> copy_ns(std::size_t bytes) {
  STASIS_ASSIGN(const FreshMemory source, FreshMemory::map(Backing::kHugePages, bytes));
  STASIS_ASSIGN(const FreshMemory target, FreshMemory::map(Backing::kHugePages, bytes));
  source.touch();
  target.touch();
  const MonotonicNs begin = host_clock().now();
  std::memcpy(target.bytes().data(), source.bytes().data(), bytes);
  return host_clock().now() - begin;
}

Result<std::int64_t> copy_to_fresh_ns(std::span<const std::byte> source) {
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const FreshMemory target, FreshMemory::map(Backing::kHugePages, source.size()));
  std::memcpy(target.bytes().data(), source.data(), source.size());
  return host_clock().now() - begin;
}

void fill_with_sample(std::span<std::byte> memory, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t offset = 0; offset + kPage <= memory.size(); offset += kPage) {
    fill_page(memory.subspan(offset, kPage), random.below(4), random);
  }
}

}  // namespace stasis::experiments
