// Every register that a guest can hold a value in, loaded with a pattern while a doorbell is rung.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guests/abi.h"
#include "guests/runtime/text.h"

namespace stasis::guest::torture {

// Which registers take part; each includes the ones before it.
enum class VectorLevel : std::uint64_t { kSse = 0, kAvx = 1, kAvx512 = 2 };

// Offsets are known to the assembly in torture_registers.cc. Vector registers that the level does
// not have are neither loaded nor stored.
struct alignas(64) RegisterState {
  std::uint64_t general[16];  // By encoding: rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15; no rsp.
  std::uint64_t flags;        // Arithmetic flags and DF.
  std::uint32_t mxcsr;
  std::uint32_t x87_control;  // Low 16 bits.
  std::uint64_t x87[8];       // st(0) first, as doubles.
  std::uint64_t mask[8];      // k0 to k7, low 16 bits.
  std::uint64_t vector_level;
  std::uint64_t unused[5];
  std::uint64_t vector[32][8];
};
static_assert(offsetof(RegisterState, flags) == 128 && offsetof(RegisterState, x87) == 144);
static_assert(offsetof(RegisterState, mask) == 208 && offsetof(RegisterState, vector_level) == 272);
static_assert(offsetof(RegisterState, vector) == 320);

// A pattern made from `seed`, in which the doorbell's operands are in place.
void make_registers(RegisterState& state, std::uint64_t seed, VectorLevel level, abi::Register reg,
                    std::uint32_t value);

// Loads `in`, rings the doorbell, stores what the registers hold then into `out`.
extern "C" void torture_ring(const RegisterState* in, RegisterState* out);

// The first register in which the two differ, in `what`; false if there is none.
bool find_difference(const RegisterState& in, const RegisterState& out, Writer& what);

}  // namespace stasis::guest::torture
