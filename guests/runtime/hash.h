// Deterministic pseudo-random numbers and hashes, the same in a guest and in the host's model of
// it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stasis::guest {

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ULL;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// xorshift64* (Vigna 2016). Never zero inside.
class Random {
 public:
  explicit constexpr Random(std::uint64_t seed) : state_(mix(seed) | 1) {}

  constexpr std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DULL;
  }
  // In [0, bound), bound > 0; the bias is below bound / 2^32.
  constexpr std::uint64_t below(std::uint64_t bound) { return (next() >> 32) * bound >> 32; }

 private:
  std::uint64_t state_;
};

// XXH64 of a byte string (the xxHash specification, version 0.1.1). Unaligned reads are fine on
// both architectures.
class Xxh64 {
 public:
  static std::uint64_t hash(const void* data, std::size_t size, std::uint64_t seed = 0) {
    const auto* at = static_cast<const unsigned char*>(data);
    const unsigned char* const end = at + size;
    std::uint64_t h = seed + kPrime5;
    if (size >= 32) {
      std::uint64_t a = seed + kPrime1 + kPrime2, b = seed + kPrime2, c = seed, d = seed - kPrime1;
      for (; end - at >= 32; at += 32) {
        a = round(a, word(at));
        b = round(b, word(at + 8));
        c = round(c, word(at + 16));
        d = round(d, word(at + 24));
      }
      h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
      h = merge(merge(merge(merge(h, a), b), c), d);
    }
    h += size;
    for (; end - at >= 8; at += 8) {
      h = rotate(h ^ round(0, word(at)), 27) * kPrime1 + kPrime4;
    }
    if (end - at >= 4) {
      h = rotate(h ^ (half(at) * kPrime1), 23) * kPrime2 + kPrime3;
      at += 4;
    }
    for (; at != end; ++at) {
      h = rotate(h ^ (*at * kPrime5), 11) * kPrime1;
    }
    h = (h ^ (h >> 33)) * kPrime2;
    h = (h ^ (h >> 29)) * kPrime3;
    return h ^ (h >> 32);
  }

 private:
  static constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87ULL, kPrime2 = 0xC2B2AE3D27D4EB4FULL,
                                 kPrime3 = 0x165667B19E3779F9ULL, kPrime4 = 0x85EBCA77C2B2AE63ULL,
                                 kPrime5 = 0x27D4EB2F165667C5ULL;
  static std::uint64_t word(const unsigned char* at) {
    std::uint64_t value = 0;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
  }
  static std::uint64_t half(const unsigned char* at) {
    std::uint32_t value = 0;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
  }
  static constexpr std::uint64_t rotate(std::uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
  }
  static constexpr std::uint64_t round(std::uint64_t accumulator, std::uint64_t input) {
    return rotate(accumulator + input * kPrime2, 31) * kPrime1;
  }
  static constexpr std::uint64_t merge(std::uint64_t h, std::uint64_t accumulator) {
    return (h ^ round(0, accumulator)) * kPrime1 + kPrime4;
  }
};

}  // namespace stasis::guest
