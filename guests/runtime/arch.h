// What differs between architectures, for guests: ringing the doorbell, the cycle counter, a hint
// for spin loops.
#pragma once

#include <cstdint>

#include "guests/abi.h"

namespace stasis::guest {

#if defined(__x86_64__)

inline std::uint64_t counter() {
  std::uint32_t low = 0, high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (std::uint64_t{high} << 32) | low;
}

inline void ring(abi::Register reg, std::uint32_t value) {
  const auto port = static_cast<std::uint16_t>(abi::kDoorbellPort + abi::register_offset(reg));
  asm volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

// As ring(), and reads the counter before anything else happens.
inline std::uint64_t ring_and_count(abi::Register reg, std::uint32_t value) {
  const auto port = static_cast<std::uint16_t>(abi::kDoorbellPort + abi::register_offset(reg));
  std::uint32_t low = 0, high = 0;
  asm volatile("outl %%eax, %%dx\n\trdtsc"
               : "=a"(low), "=d"(high)
               : "a"(value), "d"(port)
               : "memory");
  return (std::uint64_t{high} << 32) | low;
}

inline void relax() {
  asm volatile("pause");
}

#elif defined(__aarch64__)

inline std::uint64_t counter() {
  std::uint64_t value = 0;
  asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value));
  return value;
}

inline void ring(abi::Register reg, std::uint32_t value) {
  const std::uint64_t address = abi::kDoorbellMmioAddress + abi::register_offset(reg);
  asm volatile("dsb sy\n\tstr %w0, [%1]\n\tdsb sy" : : "r"(value), "r"(address) : "memory");
}

inline std::uint64_t ring_and_count(abi::Register reg, std::uint32_t value) {
  ring(reg, value);
  return counter();
}

inline void relax() {
  asm volatile("yield");
}

#else
#error "Bare guests run on x86-64 and arm64 only."
#endif

}  // namespace stasis::guest
