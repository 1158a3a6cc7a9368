// Which thread runs next: several of them share the one vCPU. A thread runs until it waits, yields,
// has made kQuantumCalls system calls or had kQuantumNs while others could run. That it has to be
// taken off the vCPU without a system call is what run_limit() tells the owner, who then calls
// preempt().
//
// A thread has its turn when it is put onto the vCPU in order; the turn is a quantum. One whose
// wait ends meanwhile (a sleep, a request, a signal) comes onto the vCPU at once and lends the
// turn: when it waits again, the other has what is left of its quantum. So neither can those that
// compute keep sleepers waiting, nor sleepers starve any of those that compute.
#pragma once

#include <cstdint>
#include <optional>

#include "guests/linux/kernel.h"
#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

constexpr int kQuantumCalls = 64;
constexpr std::int64_t kQuantumNs = 10'000'000;

// Resource: points to the process.
class Scheduler {
 public:
  explicit Scheduler(Process& process) : process_(&process) {}

  // The result of the call that `thread` has made, unless it waits.
  void finish_call(Thread& thread, TrapCpu& cpu, SysResult result);
  // Puts a thread that can go on onto the vCPU, with the signals that are due to it.
  AfterTrap resume(TrapCpu& cpu);
  // The same after the thread was interrupted anywhere.
  AfterTrap preempt(TrapCpu& cpu);
  [[nodiscard]] RunLimit run_limit();
  void yield() { process_->yields = true; }
  [[nodiscard]] std::optional<MonotonicNs> deadline() const;

 private:
  [[nodiscard]] bool can_run(Thread& thread, TrapCpu& cpu);
  void interrupt(Thread& thread, TrapCpu& cpu);
  void set_result(Thread& thread, TrapCpu& cpu, SysResult result);
  void load(Thread& thread, TrapCpu& cpu);
  void limit_by_others(RunLimit& limit) const;
  [[nodiscard]] bool could_run(const Thread& thread) const;
  [[nodiscard]] Thread* next(TrapCpu& cpu);
  [[nodiscard]] Thread* first_whose_wait_ends(TrapCpu& cpu);
  AfterTrap enter(Thread* thread, TrapCpu& cpu);
  void begin_turn(int thread_id);
  [[nodiscard]] bool is_turn_over() const { return process_->clock.host_now() >= turn_ends_; }

  Process* process_;
  int calls_ = 0;  // Of the loaded thread, since it was loaded.
  // Not part of a snapshot: after a load the loaded thread begins a turn.
  int turn_ = 0;  // Whose it is; 0: nobody's yet.
  MonotonicNs turn_ends_ = 0;
  bool waits_are_known_ =
      false;  // Nothing but time and requests can end one: no call was made since.
};

}  // namespace stasis::linux_guest
