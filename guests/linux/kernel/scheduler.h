// Which thread runs next: several of them share the one vCPU. A thread runs until it waits, yields
// or has made kQuantumCalls system calls while others could run; or until the owner calls
// Kernel::wake() in a trap of its own timer, without which a thread that makes no system call keeps
// the vCPU.
#pragma once

#include <cstdint>
#include <optional>

#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

constexpr int kQuantumCalls = 64;

// Resource: points to the process.
class Scheduler {
 public:
  explicit Scheduler(Process& process) : process_(&process) {}

  // The result of the call that `thread` has made, unless it waits.
  void finish_call(Thread& thread, TrapCpu& cpu, SysResult result);
  // Puts a thread that can go on onto the vCPU, with the signals that are due to it.
  AfterTrap resume(TrapCpu& cpu);
  void yield() { process_->yields = true; }
  [[nodiscard]] std::optional<MonotonicNs> deadline() const;

 private:
  void fire_timer();
  [[nodiscard]] bool can_run(Thread& thread, TrapCpu& cpu);
  void interrupt(Thread& thread, TrapCpu& cpu);
  void set_result(Thread& thread, TrapCpu& cpu, SysResult result);
  void load(Thread& thread, TrapCpu& cpu);
  [[nodiscard]] Thread* next(TrapCpu& cpu);

  Process* process_;
  int calls_ = 0;  // Of the loaded thread, since it was loaded.
};

}  // namespace stasis::linux_guest
