#include "mock/assembler.h"

#include <algorithm>
#include <limits>

#include "core/check.h"

namespace stasis::mock {
namespace {

constexpr std::size_t kUnbound = std::numeric_limits<std::size_t>::max();

}  // namespace

Assembler::Label Assembler::label() {
  labels_.push_back(kUnbound);
  return {labels_.size() - 1};
}

void Assembler::bind(Label label) {
  STASIS_CHECK(labels_.at(label.id) == kUnbound);
  labels_[label.id] = instructions_.size();
}

Assembler::Label Assembler::here() {
  const Label bound = label();
  bind(bound);
  return bound;
}

Gpa Assembler::address() const {
  return begin_ + instructions_.size() * kInstructionBytes;
}

Assembler& Assembler::load_imm(Register a, std::uint64_t value) {
  const auto low = static_cast<std::int32_t>(value);
  append({Opcode::kLoadImm, a, 0, 0, low});
  if (static_cast<std::uint64_t>(std::int64_t{low}) != value) {
    append({Opcode::kLoadHigh, a, 0, 0, static_cast<std::int32_t>(value >> 32)});
  }
  return *this;
}

Assembler& Assembler::append(const Instruction& instruction) {
  instructions_.push_back(instruction);
  return *this;
}

Assembler& Assembler::append_to(const Instruction& instruction, Label to) {
  uses_.push_back({instructions_.size(), to.id});
  return append(instruction);
}

std::vector<std::byte> Assembler::bytes() const {
  std::vector<Instruction> resolved = instructions_;
  for (const Use& use : uses_) {
    const std::size_t target = labels_.at(use.label);
    STASIS_CHECK(target != kUnbound);
    const auto distance =
        static_cast<std::int64_t>(target) - static_cast<std::int64_t>(use.instruction);
    resolved[use.instruction].immediate =
        static_cast<std::int32_t>(distance * static_cast<std::int64_t>(kInstructionBytes));
  }
  std::vector<std::byte> bytes;
  bytes.reserve(resolved.size() * kInstructionBytes);
  for (const Instruction& instruction : resolved) {
    const std::uint64_t word = encode(instruction);
    for (std::uint64_t i = 0; i < kInstructionBytes; ++i) {
      bytes.push_back(static_cast<std::byte>(word >> (8 * i)));
    }
  }
  return bytes;
}

Result<void> Assembler::write_to(GuestMemory& memory) const {
  const std::vector<std::byte> program = bytes();
  STASIS_ASSIGN(const std::span<std::byte> place, memory.writable_view({begin_, program.size()}));
  std::copy(program.begin(), program.end(), place.begin());
  return {};
}

}  // namespace stasis::mock
