#include "mock/toy_cpu.h"

#include <bit>
#include <string>

#include "core/check.h"
#include "core/text.h"

namespace stasis::mock {
namespace {

std::uint64_t sign_extended(std::int32_t immediate) {
  return static_cast<std::uint64_t>(std::int64_t{immediate});
}

// The low `width_bytes` bytes.
std::uint64_t truncated(std::uint64_t value, std::uint8_t width_bytes) {
  return width_bytes >= 8 ? value : value & ((std::uint64_t{1} << (8 * width_bytes)) - 1);
}

bool is_device_width(std::uint8_t width_bytes) {
  return std::has_single_bit(width_bytes) && width_bytes <= 8;
}

// Which of a, b and c name registers; c of loads and stores is a width.
bool has_legal_fields(const Instruction& instruction) {
  const bool c_is_width =
      instruction.opcode == Opcode::kLoad || instruction.opcode == Opcode::kStore;
  const bool c_is_legal =
      c_is_width ? instruction.c >= 1 && instruction.c <= 8 : instruction.c < kRegisters;
  return instruction.a < kRegisters && instruction.b < kRegisters && c_is_legal;
}

}  // namespace

void ToyCpu::set_state(const ToyVcpuState& state) {
  state_ = state;
  unanswered_.reset();
}

ToyCpu::Outcome ToyCpu::retire() {
  return retire_at(state_.pc + kInstructionBytes);
}

ToyCpu::Outcome ToyCpu::retire_at(std::uint64_t pc) {
  state_.pc = pc;
  ++state_.instructions;
  return std::nullopt;
}

ExitFailed ToyCpu::failed(std::string_view why) const {
  return {std::string(why) + " at pc " + hex(state_.pc)};
}

VcpuExit ToyCpu::refused(const Verdict& verdict, Intent intent) const {
  switch (verdict.obstacle) {
    case Obstacle::kMissing:
      return ExitMissingPage{verdict.gpa, intent == Intent::kWrite};
    case Obstacle::kWriteProtected:
      return ExitWriteProtected{verdict.gpa};
    case Obstacle::kPartlyRam:
      return failed("access at " + hex(verdict.gpa.value) + " crosses the end of RAM");
    case Obstacle::kNotExecutable:
      return failed("instruction fetch from memory without execute permission");
    case Obstacle::kNotRam:
      return failed("access at " + hex(verdict.gpa.value) + " is outside RAM");
    case Obstacle::kNone:
      break;
  }
  STASIS_CHECK(false);
}

std::optional<VcpuExit> ToyCpu::step(ToyMemory& memory) {
  STASIS_CHECK(!unanswered_);
  if (state_.halted) {
    return ExitHalted{};
  }
  const Gpa pc{state_.pc};
  if (!is_aligned(pc.value, kInstructionBytes)) {
    return failed("instruction address is not a multiple of 8");
  }
  if (const Verdict verdict = memory.check(pc, kInstructionBytes, Intent::kFetch);
      verdict.obstacle != Obstacle::kNone) {
    return refused(verdict, Intent::kFetch);
  }
  const Instruction instruction = decode(memory.load(pc, kInstructionBytes));
  if (!has_legal_fields(instruction)) {
    return failed("illegal instruction");
  }
  return execute(instruction, memory);
}

ToyCpu::Outcome ToyCpu::execute(const Instruction& instruction, ToyMemory& memory) {
  switch (instruction.opcode) {
    case Opcode::kHalt:
      retire();
      state_.halted = true;
      return ExitHalted{};
    case Opcode::kLoad:
      return execute_load(instruction, memory);
    case Opcode::kStore:
      return execute_store(instruction, memory);
    case Opcode::kFetchAdd:
    case Opcode::kCompareExchange:
      return execute_atomic(instruction, memory);
    case Opcode::kJump:
    case Opcode::kJumpAndLink:
    case Opcode::kJumpRegister:
    case Opcode::kBranchEqual:
    case Opcode::kBranchNotEqual:
    case Opcode::kBranchLess:
      return execute_jump(instruction);
    default:
      return execute_alu(instruction);
  }
}

ToyCpu::Outcome ToyCpu::execute_alu(const Instruction& instruction) {
  std::uint64_t& a = state_.r.at(instruction.a);
  const std::uint64_t b = state_.r.at(instruction.b);
  const std::uint64_t c = state_.r.at(instruction.c);
  switch (instruction.opcode) {
    case Opcode::kLoadImm:
      a = sign_extended(instruction.immediate);
      return retire();
    case Opcode::kLoadHigh:
      a = truncated(a, 4) | sign_extended(instruction.immediate) << 32;
      return retire();
    case Opcode::kMove:
      a = b;
      return retire();
    case Opcode::kAddImm:
      a = b + sign_extended(instruction.immediate);
      return retire();
    case Opcode::kAdd:
      a = b + c;
      return retire();
    case Opcode::kSub:
      a = b - c;
      return retire();
    case Opcode::kMul:
      a = b * c;
      return retire();
    case Opcode::kDivUnsigned:
      a = c == 0 ? UINT64_MAX : b / c;
      return retire();
    case Opcode::kRemUnsigned:
      a = c == 0 ? b : b % c;
      return retire();
    case Opcode::kAnd:
      a = b & c;
      return retire();
    case Opcode::kOr:
      a = b | c;
      return retire();
    case Opcode::kXor:
      a = b ^ c;
      return retire();
    case Opcode::kShiftLeft:
      a = b << (c & 63);
      return retire();
    case Opcode::kShiftRight:
      a = b >> (c & 63);
      return retire();
    case Opcode::kCount:
      a = state_.instructions;
      return retire();
    default:
      return failed("illegal instruction");
  }
}

ToyCpu::Outcome ToyCpu::execute_jump(const Instruction& instruction) {
  const std::uint64_t target = state_.pc + sign_extended(instruction.immediate);
  const std::uint64_t a = state_.r.at(instruction.a);
  const std::uint64_t b = state_.r.at(instruction.b);
  switch (instruction.opcode) {
    case Opcode::kJump:
      return retire_at(target);
    case Opcode::kJumpAndLink:
      state_.r.at(instruction.a) = state_.pc + kInstructionBytes;
      return retire_at(target);
    case Opcode::kJumpRegister:
      return retire_at(b);
    case Opcode::kBranchEqual:
      return a == b ? retire_at(target) : retire();
    case Opcode::kBranchNotEqual:
      return a != b ? retire_at(target) : retire();
    case Opcode::kBranchLess:
      return a < b ? retire_at(target) : retire();
    default:
      STASIS_CHECK(false);
  }
}

ToyCpu::Outcome ToyCpu::execute_load(const Instruction& instruction, ToyMemory& memory) {
  const Gpa from{state_.r.at(instruction.b) + sign_extended(instruction.immediate)};
  const std::uint8_t width_bytes = instruction.c;
  const Verdict verdict = memory.check(from, width_bytes, Intent::kRead);
  if (verdict.obstacle == Obstacle::kNone) {
    state_.r.at(instruction.a) = memory.load(from, width_bytes);
    return retire();
  }
  if (verdict.obstacle != Obstacle::kNotRam || !is_device_width(width_bytes)) {
    return refused(verdict, Intent::kRead);
  }
  unanswered_ = UnansweredRead{instruction.a, width_bytes};
  return ExitIoRead{{IoSpace::kMmio, from.value, width_bytes}};
}

void ToyCpu::complete_read(std::uint64_t value) {
  STASIS_CHECK(unanswered_.has_value());
  state_.r.at(unanswered_->target) = truncated(value, unanswered_->width_bytes);
  unanswered_.reset();
  retire();
}

ToyCpu::Outcome ToyCpu::execute_store(const Instruction& instruction, ToyMemory& memory) {
  const Gpa to{state_.r.at(instruction.b) + sign_extended(instruction.immediate)};
  const std::uint8_t width_bytes = instruction.c;
  const std::uint64_t value = truncated(state_.r.at(instruction.a), width_bytes);
  const Verdict verdict = memory.check(to, width_bytes, Intent::kWrite);
  if (verdict.obstacle == Obstacle::kNone) {
    memory.store(to, width_bytes, value);
    return retire();
  }
  if (verdict.obstacle != Obstacle::kNotRam || !is_device_width(width_bytes)) {
    return refused(verdict, Intent::kWrite);
  }
  retire();
  return ExitIoWrite{{IoSpace::kMmio, to.value, width_bytes}, value};
}

ToyCpu::Outcome ToyCpu::execute_atomic(const Instruction& instruction, ToyMemory& memory) {
  const Gpa at{state_.r.at(instruction.b)};
  if (!is_aligned(at.value, sizeof(std::uint64_t))) {
    return failed("atomic access at " + hex(at.value) + ", which is not a multiple of 8,");
  }
  const Verdict verdict = memory.check(at, sizeof(std::uint64_t), Intent::kWrite);
  if (verdict.obstacle != Obstacle::kNone) {
    return refused(verdict, Intent::kWrite);
  }
  std::uint64_t& a = state_.r.at(instruction.a);
  const std::uint64_t c = state_.r.at(instruction.c);
  a = instruction.opcode == Opcode::kFetchAdd ? memory.fetch_add(at, c)
                                              : memory.compare_exchange(at, a, c);
  return retire();
}

}  // namespace stasis::mock
