// What pagetoucher's pages contain and how it hashes what it reads: the host's model of the guest
// (tests, experiments) includes this header too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guests/runtime/hash.h"

namespace stasis::guest::pagetoucher {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kPageWords = kPageBytes / 8;

// A list of accesses in a binary request: this word, then one little-endian 32-bit word an access,
// the page's number with the top bit set for a write.
inline constexpr std::uint32_t kBinaryListMagic = 0x54534C42;  // "BLST"
inline constexpr std::uint32_t kWriteBit = 0x80000000;

// A write replaces a page's first word by this.
constexpr std::uint64_t written(std::uint64_t old_value, std::uint64_t page) {
  return mix(old_value + page + 1);
}

// The hash of a request's accesses: start at 0, then for each access in order.
constexpr std::uint64_t accumulate(std::uint64_t hash, std::uint64_t page, std::uint64_t value) {
  return mix(hash ^ mix(page)) + value;
}

// order=random visits page begin + stride * slot(0), begin + stride * slot(1), ...: a permutation
// of [0, count) that needs no memory and is the same in guest and host. It permutes the next power
// of two by odd multipliers and a shift, and walks on until it is inside.
class Permutation {
 public:
  constexpr Permutation(std::uint64_t count, std::uint64_t seed)
      : count_(count), multiplier_(mix(seed) | 1), offset_(mix(seed + 1)) {
    while (mask_ + 1 < count) {
      mask_ = mask_ * 2 + 1;
      ++bits_;
    }
  }
  // `index` < count.
  [[nodiscard]] constexpr std::uint64_t slot(std::uint64_t index) const {
    std::uint64_t x = index;
    do {
      x = (x * multiplier_ + offset_) & mask_;
      x ^= x >> (bits_ / 2 + 1);
      x = (x * multiplier_) & mask_;
    } while (x >= count_);
    return x;
  }

 private:
  std::uint64_t count_, multiplier_, offset_, mask_ = 0;
  int bits_ = 0;
};

// What fill writes.
enum class Kind : std::uint8_t {
  kRandom,    // Incompressible.
  kText,      // Words of a small vocabulary.
  kPointers,  // Small numbers and addresses.
  kMixed,     // One of the three, by page.
};

// Is `page` among the `percent` % of pages that fill leaves zero, or that touch writes to?
constexpr bool is_chosen(std::uint64_t page, std::uint64_t seed, std::uint64_t percent) {
  return mix(mix(page) ^ seed) % 100 < percent;
}

// Fills one page that is not a zero page; its first word is never 0.
inline void fill_page(std::uint64_t* words, std::uint64_t page, std::uint64_t seed, Kind kind) {
  Random random(mix(page) ^ (seed * 3));
  if (kind == Kind::kMixed) {
    kind = static_cast<Kind>(page % 3);
  }
  for (std::size_t i = 0; i < kPageWords; ++i) {
    const std::uint64_t draw = random.next();
    switch (kind) {
      case Kind::kRandom:
      case Kind::kMixed:
        words[i] = draw;
        break;
      case Kind::kText: {
        // Seven letters and a space, chosen by the word's number in the vocabulary.
        constexpr char kLetters[] = "etaoinshrdlucmfw";
        const std::uint64_t letters = mix(draw >> 56);
        std::uint64_t word = ' ';
        for (int letter = 0; letter < 7; ++letter) {
          word = word << 8 | static_cast<unsigned char>(kLetters[letters >> (4 * letter) & 15]);
        }
        words[i] = word;
        break;
      }
      case Kind::kPointers:
        words[i] = draw % 2 == 0 ? (draw >> 48) + 1 : 0x7F00'0000'0000 + (draw >> 40 << 4);
        break;
    }
  }
  words[0] |= 1;
}

}  // namespace stasis::guest::pagetoucher
