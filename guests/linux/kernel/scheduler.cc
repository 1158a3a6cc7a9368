#include "guests/linux/kernel/scheduler.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <vector>

#include "guests/linux/signals/delivery.h"

namespace stasis::linux_guest {
namespace {

constexpr std::int64_t kProgressNs = 50'000;

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

void shorten(RunLimit& limit, MonotonicNs at) {
  limit.until = limit.until ? std::min(*limit.until, at) : at;
}

}  // namespace

void Scheduler::set_result(Thread& thread, TrapCpu& cpu, SysResult result) {
  const bool is_loaded = process_->threads.loaded_id() == thread.id;
  (is_loaded ? cpu.general() : thread.context.general).rax = static_cast<std::uint64_t>(result);
}

void Scheduler::finish_call(Thread& thread, TrapCpu& cpu, SysResult result) {
  ++calls_;
  waits_are_known_ = false;
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

void Scheduler::begin_turn(int thread_id) {
  turn_ = thread_id;
  turn_ends_ = add_ns(process_->clock.host_now(), kQuantumNs);
}

Thread* Scheduler::next(TrapCpu& cpu) {
  Threads& threads = process_->threads;
  Thread* const loaded = threads.loaded();
  const bool gives_way = process_->yields || calls_ >= kQuantumCalls;
  process_->yields = false;
  if (loaded != nullptr && !gives_way && can_run(*loaded, cpu)) {
    return loaded;
  }
  // The others in turn, beginning behind the one whose turn it was, or with it if that was lent.
  const int last = turn_ != 0 ? turn_ : threads.loaded_id();
  const bool is_lent = last != threads.loaded_id() && !is_turn_over();
  std::vector<int> ids;
  for (auto at = is_lent ? threads.all().lower_bound(last) : threads.all().upper_bound(last);
       at != threads.all().end(); ++at) {
    ids.push_back(at->first);
  }
  for (auto at = threads.all().begin(); at != threads.all().end() && at->first <= last; ++at) {
    ids.push_back(at->first);
  }
  for (const int id : ids) {
    Thread* const thread = threads.find(id);
    if (thread != nullptr && can_run(*thread, cpu)) {
      if (id != turn_ || !is_lent) {
        begin_turn(id);
      }
      return thread;
    }
  }
  return nullptr;
}

Thread* Scheduler::first_whose_wait_ends(TrapCpu& cpu) {
  Threads& threads = process_->threads;
  std::vector<int> ids;  // A call that is made again may end threads.
  for (const auto& [id, thread] : threads.all()) {
    if (thread.wait && id != threads.loaded_id()) {
      ids.push_back(id);
    }
  }
  for (const int id : ids) {
    Thread* const thread = threads.find(id);
    if (thread != nullptr && can_run(*thread, cpu)) {
      return thread;
    }
  }
  waits_are_known_ = true;
  return nullptr;
}

AfterTrap Scheduler::enter(Thread* thread, TrapCpu& cpu) {
  while (!process_->has_exited) {
    if (thread == nullptr) {
      thread = next(cpu);
    }
    if (thread == nullptr) {
      return AfterTrap::kWait;
    }
    if (calls_ >= kQuantumCalls) {
      calls_ = 0;  // Nobody else could run.
    }
    load(*thread, cpu);
    deliver_signals(*process_, *thread, cpu);
    thread = nullptr;
    if (!process_->has_exited) {
      return AfterTrap::kContinue;
    }
  }
  return AfterTrap::kExited;
}

AfterTrap Scheduler::resume(TrapCpu& cpu) {
  fire_timers(*process_);
  return enter(nullptr, cpu);
}

AfterTrap Scheduler::preempt(TrapCpu& cpu) {
  fire_timers(*process_);
  Thread* const loaded = process_->threads.loaded();
  const bool is_signaled = loaded != nullptr && process_->signals.has_deliverable(*loaded);
  if (process_->threads.all().size() > 1 && (!is_signaled || is_turn_over())) {
    if (Thread* const woken = first_whose_wait_ends(cpu); woken != nullptr) {
      return enter(woken, cpu);
    }
    process_->yields = process_->yields || is_turn_over();
  }
  return enter(nullptr, cpu);
}

// Before a deadline of its own.
bool Scheduler::could_run(const Thread& thread) const {
  if (!thread.wait) {
    return true;
  }
  const Wait& wait = *thread.wait;
  if (wait.deadline && process_->clock.is_past(*wait.deadline)) {
    return true;
  }
  // What a call of the running thread may have made of it.
  return !waits_are_known_ && (wait.until == Wait::Until::kReady || wait.is_woken ||
                               process_->signals.has_deliverable(thread));
}

void Scheduler::limit_by_others(RunLimit& limit) const {
  bool others_could_run = false;
  for (const auto& [id, thread] : process_->threads.all()) {
    if (id == process_->threads.loaded_id()) {
      continue;
    }
    others_could_run = others_could_run || could_run(thread);
    if (thread.wait) {
      limit.until_request = limit.until_request || thread.wait->until == Wait::Until::kReady;
      if (thread.wait->deadline && !process_->clock.is_past(*thread.wait->deadline)) {
        shorten(limit, process_->clock.on_host(*thread.wait->deadline));
      }
    }
  }
  if (others_could_run) {
    shorten(limit, turn_ends_);
  }
}

RunLimit Scheduler::run_limit() {
  RunLimit limit;
  if (const auto first = first_expiration(process_->timers, process_->clock)) {
    // However short the interval of a timer is, the process gets on between two signals.
    shorten(limit, std::max(*first, add_ns(process_->clock.host_now(), kProgressNs)));
  }
  if (process_->threads.all().size() <= 1) {
    turn_ = 0;
    return limit;
  }
  if (turn_ == 0) {
    begin_turn(process_->threads.loaded_id());
  }
  limit_by_others(limit);
  for (const auto& [number, descriptor] : process_->descriptors.all()) {
    if (descriptor.file->kind() == FileKind::kTimer && descriptor.file->deadline()) {
      shorten(limit, process_->clock.on_host(*descriptor.file->deadline()));
    }
  }
  return limit;
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
  // Processor time stands still while all of them wait.
  add(process_->timers.interval[ITIMER_REAL].next);
  for (const auto& [id, timer] : process_->timers.posix) {
    if (timer.signal != 0 && timer.clock != ClockKind::kProcessor) {
      add(timer.timer.next);
    }
  }
  // A timer descriptor may be waited for by poll, select, epoll or read.
  for (const auto& [number, descriptor] : process_->descriptors.all()) {
    if (descriptor.file->kind() == FileKind::kTimer) {
      add(descriptor.file->deadline());
    }
  }
  return first;
}

}  // namespace stasis::linux_guest
