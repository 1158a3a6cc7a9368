// The instruction set of the toy CPU: what the interpreter executes and the assembler writes.
//
// 16 registers r0..r15 of 64 bits, no flags. Every instruction has 8 bytes, at an address that is a
// multiple of 8, in little-endian order:
//
//   byte 0  opcode     byte 1  a     byte 2  b     byte 3  c     bytes 4..7  immediate (signed)
//
// a, b and c are register numbers, or c a width in bytes. Everything else is illegal, the zero
// instruction included. There is no translation: addresses are guest-physical. Loads and stores may
// have any width from 1 to 8 and any alignment, also across pages. Where an address is not RAM, the
// access goes to the device bus and must have a width of 1, 2, 4 or 8.
#pragma once

#include <cstdint>

namespace stasis::mock {

inline constexpr std::uint64_t kInstructionBytes = 8;
inline constexpr std::uint8_t kRegisters = 16;

enum class Opcode : std::uint8_t {
  kIllegal = 0,
  kHalt = 1,          // This vCPU stops for good.
  kLoadImm = 2,       // a = immediate, sign-extended
  kLoadHigh = 3,      // a = (a & 0xffffffff) | immediate << 32
  kMove = 4,          // a = b
  kAddImm = 5,        // a = b + immediate
  kAdd = 6,           // a = b + c
  kSub = 7,           // a = b - c
  kMul = 8,           // a = b * c, low 64 bits
  kDivUnsigned = 9,   // a = b / c; all ones when c is 0
  kRemUnsigned = 10,  // a = b % c; b when c is 0
  kAnd = 11,
  kOr = 12,
  kXor = 13,
  kShiftLeft = 14,     // a = b << (c & 63)
  kShiftRight = 15,    // a = b >> (c & 63), zeros come in
  kLoad = 16,          // a = the c bytes at b + immediate, zero-extended
  kStore = 17,         // the c bytes at b + immediate = a
  kJump = 18,          // pc += immediate
  kJumpAndLink = 19,   // a = pc + 8, pc += immediate
  kJumpRegister = 20,  // pc = b
  kBranchEqual = 21,   // if a == b: pc += immediate
  kBranchNotEqual = 22,
  kBranchLess = 23,  // if a < b, unsigned: pc += immediate
  // On the 8 bytes at b, which must be RAM and 8-byte aligned; atomic between vCPUs.
  kFetchAdd = 24,         // a = old value, memory += c
  kCompareExchange = 25,  // if memory == a: memory = c; a = old value either way
  kCount = 26,            // a = instructions retired before this one: the toy CPU's clock
};

struct Instruction {
  Opcode opcode = Opcode::kIllegal;
  std::uint8_t a = 0;
  std::uint8_t b = 0;
  std::uint8_t c = 0;
  std::int32_t immediate = 0;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

constexpr std::uint64_t encode(const Instruction& instruction) {
  return static_cast<std::uint64_t>(instruction.opcode) |
         static_cast<std::uint64_t>(instruction.a) << 8 |
         static_cast<std::uint64_t>(instruction.b) << 16 |
         static_cast<std::uint64_t>(instruction.c) << 24 |
         static_cast<std::uint64_t>(static_cast<std::uint32_t>(instruction.immediate)) << 32;
}

// Any 64 bits; whether they are legal is for the CPU to say.
constexpr Instruction decode(std::uint64_t word) {
  return {static_cast<Opcode>(word & 0xff), static_cast<std::uint8_t>(word >> 8),
          static_cast<std::uint8_t>(word >> 16), static_cast<std::uint8_t>(word >> 24),
          static_cast<std::int32_t>(word >> 32)};
}

static_assert(decode(encode({Opcode::kStore, 1, 2, 8, -16})) ==
              Instruction{Opcode::kStore, 1, 2, 8, -16});

}  // namespace stasis::mock
