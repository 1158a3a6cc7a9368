// A tiny assembler for toy programs in tests.
//
//   Assembler code(Gpa{0x1000});
//   const Assembler::Label loop = code.here();
//   code.add_imm(R1, R1, 1).store(R1, R2, 0, 8).jump(loop);
//   code.write_to(memory);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/guest_memory.h"
#include "mock/toy_isa.h"

namespace stasis::mock {

// Unscoped and short on purpose: `code.add_imm(R1, R1, 8)` reads like assembly.
// NOLINTBEGIN(readability-identifier-naming)
// clang-format off
enum Register : std::uint8_t {
  R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15
};
// clang-format on
// NOLINTEND(readability-identifier-naming)

// Value. Every call appends and returns *this. A misuse (a label that is never bound) is a CHECK.
class Assembler {
 public:
  explicit Assembler(Gpa begin) : begin_(begin) {}

  struct Label {
    std::size_t id = 0;
  };
  Label label();                      // Not bound yet: for jumps forward.
  void bind(Label label);             // To the next instruction.
  Label here();                       // label() and bind().
  [[nodiscard]] Gpa address() const;  // Of the next instruction.

  Assembler& halt() { return append({Opcode::kHalt}); }
  Assembler& load_imm(Register a, std::uint64_t value);  // One or two instructions.
  Assembler& move(Register a, Register b) { return append({Opcode::kMove, a, b}); }
  Assembler& add_imm(Register a, Register b, std::int32_t value) {
    return append({Opcode::kAddImm, a, b, 0, value});
  }
  Assembler& alu(Opcode opcode, Register a, Register b, Register c) {
    return append({opcode, a, b, c});
  }
  Assembler& load(Register a, Register base, std::int32_t offset, std::uint8_t width_bytes) {
    return append({Opcode::kLoad, a, base, width_bytes, offset});
  }
  Assembler& store(Register a, Register base, std::int32_t offset, std::uint8_t width_bytes) {
    return append({Opcode::kStore, a, base, width_bytes, offset});
  }
  Assembler& jump(Label to) { return append_to({Opcode::kJump}, to); }
  Assembler& jump_and_link(Register a, Label to) {
    return append_to({Opcode::kJumpAndLink, a}, to);
  }
  Assembler& jump_register(Register b) { return append({Opcode::kJumpRegister, 0, b}); }
  Assembler& branch_equal(Register a, Register b, Label to) {
    return append_to({Opcode::kBranchEqual, a, b}, to);
  }
  Assembler& branch_not_equal(Register a, Register b, Label to) {
    return append_to({Opcode::kBranchNotEqual, a, b}, to);
  }
  Assembler& branch_less(Register a, Register b, Label to) {
    return append_to({Opcode::kBranchLess, a, b}, to);
  }
  Assembler& fetch_add(Register old, Register address, Register addend) {
    return append({Opcode::kFetchAdd, old, address, addend});
  }
  Assembler& compare_exchange(Register expected, Register address, Register desired) {
    return append({Opcode::kCompareExchange, expected, address, desired});
  }
  Assembler& count(Register a) { return append({Opcode::kCount, a}); }
  Assembler& append(const Instruction& instruction);

  // The program's bytes, with all labels resolved.
  [[nodiscard]] std::vector<std::byte> bytes() const;
  // As a loader does: not a host write. kOutOfRange unless the program fits into one region.
  Result<void> write_to(GuestMemory& memory) const;

 private:
  Assembler& append_to(const Instruction& instruction, Label to);

  struct Use {
    std::size_t instruction = 0;
    std::size_t label = 0;
  };
  Gpa begin_;
  std::vector<Instruction> instructions_;
  std::vector<std::size_t> labels_;  // Index of an instruction, or kUnbound.
  std::vector<Use> uses_;
};

}  // namespace stasis::mock
