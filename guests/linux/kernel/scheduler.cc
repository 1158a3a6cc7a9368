#include "guests/linux/kernel/scheduler.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <vector>

#include "guests/linux/signals/delivery.h"

namespace stasis::linux_guest {
namespace {

// nanosleep(2): how long would have been left.
void tell_time_left(Process& process, const Wait& wait) {
  UserAddress to;
  if (wait.number == SYS_nanosleep) {
    to.value = wait.arguments[1];
  } else if (wait.number == SYS_clock_nanosleep && wait.arguments[1] == 0) {
    to.value = wait.arguments[3];
  }
  if (to.value == 0 || !wait.deadline) {
    return;
  }
  const std::int64_t left = std::max<std::int64_t>(
      0, add_ns(wait.deadline->at_ns, -process.clock.now_ns(wait.deadline->clock)));
  const UserAccess user(*process.memory);
  static_cast<void>(
      user.put(to, std::array<std::int64_t, 2>{left / kNsPerSecond, left % kNsPerSecond}));
}

}  // namespace

void Scheduler::set_result(Thread& thread, TrapCpu& cpu, SysResult result) {
  const bool is_loaded = process_->threads.loaded_id() == thread.id;
  (is_loaded ? cpu.general() : thread.context.general).rax = static_cast<std::uint64_t>(result);
}

void Scheduler::finish_call(Thread& thread, TrapCpu& cpu, SysResult result) {
  ++calls_;
  if (result == kBlocked) {
    return;
  }
  thread.wait.reset();
  if (result != kRegistersSet) {
    set_result(thread, cpu, result);
  }
  if (thread.mask_to_restore) {
    thread.blocked = *thread.mask_to_restore;
    thread.mask_to_restore.reset();
  }
}

void Scheduler::fire_timer() {
  IntervalTimer& timer = process_->real_timer;
  if (!timer.next || !process_->clock.is_past(*timer.next)) {
    return;
  }
  process_->send_to_process(SIGALRM, SI_KERNEL);
  if (timer.interval_ns == 0) {
    timer.next.reset();
    return;
  }
  // Expirations that were missed are one.
  const std::int64_t late = add_ns(process_->clock.now_ns(timer.next->clock), -timer.next->at_ns);
  timer.next->at_ns =
      add_ns(timer.next->at_ns, ((late / timer.interval_ns) + 1) * timer.interval_ns);
}

void Scheduler::interrupt(Thread& thread, TrapCpu& cpu) {
  const Wait wait = *thread.wait;
  thread.wait.reset();
  if (wait.progress != 0) {
    set_result(thread, cpu, static_cast<SysResult>(wait.progress));
    return;
  }
  tell_time_left(*process_, wait);
  set_result(thread, cpu, -EINTR);
  thread.interrupted = Interrupted{wait.number, wait.restarts};
}

bool Scheduler::can_run(Thread& thread, TrapCpu& cpu) {
  if (!thread.wait) {
    return true;
  }
  Wait& wait = *thread.wait;
  const bool is_too_late = wait.deadline && process_->clock.is_past(*wait.deadline);
  if (wait.until == Wait::Until::kReady || wait.is_woken || is_too_late) {
    const SyscallEntry* const entry = find_syscall(wait.number);
    STASIS_CHECK(entry != nullptr && entry->handler != nullptr);
    Call call{*process_, thread, nullptr, wait.number, wait.arguments, &wait, is_too_late};
    const SysResult result = entry->handler(call);
    if (result != kBlocked) {
      finish_call(thread, cpu, result);
      return true;
    }
  }
  if (process_->signals.has_deliverable(thread)) {
    interrupt(thread, cpu);
    return true;
  }
  return false;
}

void Scheduler::load(Thread& thread, TrapCpu& cpu) {
  Threads& threads = process_->threads;
  if (threads.loaded_id() == thread.id) {
    return;
  }
  if (Thread* const old = threads.loaded(); old != nullptr) {
    old->context = {cpu.general(), cpu.fs_base(), cpu.gs_base(), cpu.extended()};
  }
  cpu.general() = thread.context.general;
  cpu.set_fs_base(thread.context.fs_base);
  cpu.set_gs_base(thread.context.gs_base);
  if (!thread.context.xsave.empty()) {
    // It was the processor's own, or checked when it was loaded from a snapshot.
    static_cast<void>(cpu.set_extended(thread.context.xsave));
  }
  threads.set_loaded(thread.id);
  calls_ = 0;
}

Thread* Scheduler::next(TrapCpu& cpu) {
  Threads& threads = process_->threads;
  Thread* const loaded = threads.loaded();
  const bool gives_way = process_->yields || calls_ >= kQuantumCalls;
  process_->yields = false;
  if (loaded != nullptr && !gives_way && can_run(*loaded, cpu)) {
    return loaded;
  }
  // The others in turn, beginning behind the loaded one.
  std::vector<int> ids;
  for (auto at = threads.all().upper_bound(threads.loaded_id()); at != threads.all().end(); ++at) {
    ids.push_back(at->first);
  }
  for (auto at = threads.all().begin();
       at != threads.all().end() && at->first <= threads.loaded_id(); ++at) {
    ids.push_back(at->first);
  }
  for (const int id : ids) {
    Thread* const thread = threads.find(id);
    if (thread != nullptr && can_run(*thread, cpu)) {
      return thread;
    }
  }
  return nullptr;
}

AfterTrap Scheduler::resume(TrapCpu& cpu) {
  fire_timer();
  while (!process_->has_exited) {
    Thread* const thread = next(cpu);
    if (thread == nullptr) {
      return AfterTrap::kWait;
    }
    if (calls_ >= kQuantumCalls) {
      calls_ = 0;  // Nobody else could run.
    }
    load(*thread, cpu);
    deliver_signals(*process_, *thread, cpu);
    if (!process_->has_exited) {
      return AfterTrap::kContinue;
    }
  }
  return AfterTrap::kExited;
}

std::optional<MonotonicNs> Scheduler::deadline() const {
  std::optional<MonotonicNs> first;
  const auto add = [&](const std::optional<Deadline>& deadline) {
    if (deadline) {
      const MonotonicNs at = process_->clock.on_host(*deadline);
      first = first ? std::min(*first, at) : at;
    }
  };
  for (const auto& [id, thread] : process_->threads.all()) {
    if (thread.wait) {
      add(thread.wait->deadline);
    }
  }
  add(process_->real_timer.next);
  // A timer descriptor may be waited for by poll, select, epoll or read.
  for (const auto& [number, descriptor] : process_->descriptors.all()) {
    if (descriptor.file->kind() == FileKind::kTimer) {
      add(descriptor.file->deadline());
    }
  }
  return first;
}

}  // namespace stasis::linux_guest
