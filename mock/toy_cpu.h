// The toy CPU: one instruction at a time, with nothing hidden. It is the oracle for the other
// backends, so it is written to be obviously right, not to be fast. The instruction set is in
// mock/toy_isa.h, the page protection in mock/toy_memory.h.
#pragma once

#include <cstdint>
#include <optional>

#include "core/result.h"
#include "core/toy_state.h"
#include "core/vcpu_exit.h"
#include "mock/toy_isa.h"
#include "mock/toy_memory.h"

namespace stasis::mock {

// Thread-compatible. Deterministic: the next state depends on the state, on RAM and on the answers
// of devices alone.
class ToyCpu {
 public:
  [[nodiscard]] const ToyVcpuState& state() const { return state_; }
  void set_state(const ToyVcpuState& state);  // Also forgets an unanswered read.

  // Executes one instruction. Nothing when it has retired; otherwise why it has not, or, for a
  // device write and a halt, why the CPU stops after it. Every instruction either happens wholly or
  // changes nothing. A device read retires in complete_read(); until then this must not be called.
  std::optional<VcpuExit> step(ToyMemory& memory);

  [[nodiscard]] bool has_unanswered_read() const { return unanswered_.has_value(); }
  void complete_read(std::uint64_t value);

 private:
  using Outcome = std::optional<VcpuExit>;

  Outcome execute(const Instruction& instruction, ToyMemory& memory);
  Outcome execute_alu(const Instruction& instruction);
  Outcome execute_jump(const Instruction& instruction);
  Outcome execute_load(const Instruction& instruction, ToyMemory& memory);
  Outcome execute_store(const Instruction& instruction, ToyMemory& memory);
  Outcome execute_atomic(const Instruction& instruction, ToyMemory& memory);
  Outcome retire();                     // To the next instruction.
  Outcome retire_at(std::uint64_t pc);  // To the instruction at pc.
  [[nodiscard]] ExitFailed failed(std::string_view why) const;
  // The exit for `verdict`, which is not kNone and not kNotRam.
  [[nodiscard]] VcpuExit refused(const Verdict& verdict, Intent intent) const;

  struct UnansweredRead {
    std::uint8_t target = 0;
    std::uint8_t width_bytes = 0;
  };
  ToyVcpuState state_;
  std::optional<UnansweredRead> unanswered_;
};

}  // namespace stasis::mock
