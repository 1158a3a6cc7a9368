// A small assembler for A64: test guests as words, so that no compiler for AArch64 is needed.
// Encodings: Arm ARM DDI 0487, C6.2, "Alphabetical list of A64 base instructions".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace stasis {

// A general register; 31 is XZR where an instruction has no stack pointer there.
using A64Register = std::uint32_t;

class Arm64Code {
 public:
  using Label = std::size_t;  // The number of an instruction.

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(words_));
  }
  [[nodiscard]] Label here() const { return words_.size(); }

  Arm64Code& word(std::uint32_t word) {
    words_.push_back(word);
    return *this;
  }

  Arm64Code& load_imm(A64Register rd, std::uint64_t value) {
    word(0xd2800000U | part(value, 0) << 5U | rd);  // MOVZ, and MOVK for what is not zero.
    for (std::uint32_t i = 1; i < 4; ++i) {
      if (part(value, i) != 0) {
        word(0xf2800000U | i << 21U | part(value, i) << 5U | rd);
      }
    }
    return *this;
  }

  // Of 1, 2, 4 or 8 bytes at [rn].
  Arm64Code& store(A64Register rt, A64Register rn, std::uint32_t width_bytes = 8) {
    return word(0x39000000U | size_field(width_bytes) << 30U | rn << 5U | rt);
  }
  Arm64Code& load(A64Register rt, A64Register rn, std::uint32_t width_bytes = 8) {
    return word(0x39400000U | size_field(width_bytes) << 30U | rn << 5U | rt);
  }
  // Two registers of 8 bytes each at [rn]: a data abort whose syndrome has no ISV.
  Arm64Code& store_pair(A64Register rt, A64Register rt2, A64Register rn) {
    return word(0xa9000000U | rt2 << 10U | rn << 5U | rt);
  }
  Arm64Code& load_signed_byte(A64Register rt, A64Register rn) {  // LDRSB Xt
    return word(0x39800000U | rn << 5U | rt);
  }

  Arm64Code& add(A64Register rd, A64Register rn, A64Register rm) {
    return word(0x8b000000U | rm << 16U | rn << 5U | rd);
  }
  Arm64Code& add_imm(A64Register rd, A64Register rn, std::uint32_t imm12) {
    return word(0x91000000U | imm12 << 10U | rn << 5U | rd);
  }
  Arm64Code& sub_imm(A64Register rd, A64Register rn, std::uint32_t imm12) {
    return word(0xd1000000U | imm12 << 10U | rn << 5U | rd);
  }
  Arm64Code& multiply(A64Register rd, A64Register rn, A64Register rm) {
    return word(0x9b007c00U | rm << 16U | rn << 5U | rd);
  }

  Arm64Code& branch(Label to) { return word(0x14000000U | (distance(to) & 0x3ffffffU)); }
  Arm64Code& branch_if_not_zero(A64Register rt, Label to) {  // CBNZ
    return word(0xb5000000U | (distance(to) & 0x7ffffU) << 5U | rt);
  }
  Arm64Code& branch_to(A64Register rn) { return word(0xd61f0000U | rn << 5U); }  // BR

  // *[rn] += rs for all observers, by the atomic instruction and by an exclusive pair.
  Arm64Code& add_atomically(A64Register rs, A64Register rn) {  // STADDL
    return word(0xf860001fU | rs << 16U | rn << 5U);
  }
  Arm64Code& load_exclusive(A64Register rt, A64Register rn) {  // LDAXR
    return word(0xc85ffc00U | rn << 5U | rt);
  }
  Arm64Code& store_exclusive(A64Register rs, A64Register rt, A64Register rn) {  // STLXR
    return word(0xc800fc00U | rs << 16U | rn << 5U | rt);
  }

  // `encoding` as in Arm64SystemRegister.
  Arm64Code& read_system(A64Register rt, std::uint32_t encoding) {
    return word(0xd5200000U | encoding << 5U | rt);
  }
  Arm64Code& write_system(std::uint32_t encoding, A64Register rt) {
    return word(0xd5000000U | encoding << 5U | rt);
  }

  Arm64Code& hvc(std::uint32_t imm16) { return word(0xd4000002U | imm16 << 5U); }
  Arm64Code& smc(std::uint32_t imm16) { return word(0xd4000003U | imm16 << 5U); }
  Arm64Code& wfi() { return word(0xd503207fU); }
  Arm64Code& isb() { return word(0xd5033fdfU); }
  Arm64Code& undefined() { return word(0); }  // UDF

 private:
  static constexpr std::uint32_t part(std::uint64_t value, std::uint32_t number) {
    return static_cast<std::uint32_t>(value >> (16U * number)) & 0xffffU;
  }
  static constexpr std::uint32_t size_field(std::uint32_t width_bytes) {
    return width_bytes == 8 ? 3 : width_bytes == 4 ? 2 : width_bytes == 2 ? 1 : 0;
  }
  [[nodiscard]] std::uint32_t distance(Label to) const {
    return static_cast<std::uint32_t>(to - words_.size());
  }

  std::vector<std::uint32_t> words_;
};

}  // namespace stasis
