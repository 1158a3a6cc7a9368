// A seeded source of random numbers that gives the same sequence with every standard library, so
// that a run's order of trials and its intervals can be recomputed anywhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/check.h"

namespace stasis::experiments {

// xoshiro256** (Blackman and Vigna), seeded through SplitMix64. Not for secrets. Value.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {
      word = split_mix(seed);
    }
  }

  std::uint64_t next() noexcept {
    const std::uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate_left(state_[3], 45);
    return result;
  }

  // Uniform in [0, limit), without bias: draws that would fall into the incomplete last multiple of
  // `limit` are repeated. `limit` must not be 0.
  std::uint64_t below(std::uint64_t limit) noexcept {
    STASIS_CHECK(limit != 0);
    const std::uint64_t reject_below = (0 - limit) % limit;  // 2^64 modulo limit.
    std::uint64_t draw = next();
    while (draw < reject_below) {
      draw = next();
    }
    return draw % limit;
  }

  // Uniform in [0, 1), 53 bits.
  double uniform() noexcept { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

  template <typename T>
  void shuffle(std::vector<T>& items) noexcept {
    for (std::size_t left = items.size(); left > 1; --left) {
      std::swap(items[left - 1], items[below(left)]);
    }
  }

  // A seed for part `index` of something seeded with `seed`: neighbouring parts are unrelated.
  static std::uint64_t derive(std::uint64_t seed, std::uint64_t index) noexcept {
    std::uint64_t state = seed + index * 0x9E3779B97F4A7C15U;
    split_mix(state);
    return split_mix(state);
  }

 private:
  static std::uint64_t rotate_left(std::uint64_t value, unsigned bits) noexcept {
    return (value << bits) | (value >> (64U - bits));
  }
  static std::uint64_t split_mix(std::uint64_t& state) noexcept {
    state += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
  }

  std::array<std::uint64_t, 4> state_ = {};
};

}  // namespace stasis::experiments
