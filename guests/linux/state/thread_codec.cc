#include <algorithm>
#include <array>

#include "guests/linux/state/codec_parts.h"

namespace stasis::linux_guest::codec {
static void put(schema::Wait::Builder out, const Wait& wait) {
  out.setNumber(wait.number);
  auto arguments = out.initArguments(6);
  for (unsigned i = 0; i < 6; ++i) {
    arguments.set(i, wait.arguments[i]);
  }
  out.setUntil(static_cast<std::uint8_t>(wait.until));
  put_deadline(out.initDeadline(), wait.deadline);
  out.setRestarts(wait.restarts);
  out.setIsWoken(wait.is_woken);
  out.setFutex(wait.futex.value);
  out.setFutexMask(wait.futex_mask);
  out.setOrder(wait.order);
  out.setProgress(wait.progress);
}

static Wait get(schema::Wait::Reader in) {
  Wait wait;
  wait.number = in.getNumber();
  const auto arguments = in.getArguments();
  for (unsigned i = 0; i < std::min(6U, arguments.size()); ++i) {
    wait.arguments[i] = arguments[i];
  }
  wait.until = static_cast<Wait::Until>(in.getUntil());
  wait.deadline = get_deadline(in.getDeadline());
  wait.restarts = in.getRestarts();
  wait.is_woken = in.getIsWoken();
  wait.futex = UserAddress{in.getFutex()};
  wait.futex_mask = in.getFutexMask();
  wait.order = in.getOrder();
  wait.progress = in.getProgress();
  return wait;
}

static std::array<std::uint64_t*, 18> registers_of(X86GeneralRegisters& r) {
  return {&r.rax, &r.rbx, &r.rcx, &r.rdx, &r.rsi, &r.rdi, &r.rsp, &r.rbp, &r.r8,
          &r.r9,  &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15, &r.rip, &r.rflags};
}

// The overloads above, as values.
constexpr auto kPut = [](auto out, const auto& value) { put(out, value); };
constexpr auto kGet = [](auto in) { return get(in); };

void put_deadline(schema::OptionalDeadline::Builder out, const std::optional<Deadline>& deadline) {
  out.setIsSet(deadline.has_value());
  if (deadline) {
    out.setIsReal(deadline->clock == ClockKind::kReal);
    out.setAtNs(deadline->at_ns);
  }
}

std::optional<Deadline> get_deadline(schema::OptionalDeadline::Reader in) {
  if (!in.getIsSet()) {
    return std::nullopt;
  }
  return Deadline{in.getIsReal() ? ClockKind::kReal : ClockKind::kMonotonic, in.getAtNs()};
}

void put(schema::SignalInfo::Builder out, const SignalInfo& info) {
  out.setSignal(info.signal);
  out.setCode(info.code);
  out.setProcess(info.process);
  out.setUser(info.user);
  out.setValue(info.value);
  out.setAddress(info.address);
  out.setVector(info.vector);
  out.setErrorCode(info.error_code);
  out.setIsFault(info.is_fault);
}

SignalInfo get(schema::SignalInfo::Reader in) {
  return {in.getSignal(),  in.getCode(),   in.getProcess(),   in.getUser(),   in.getValue(),
          in.getAddress(), in.getVector(), in.getErrorCode(), in.getIsFault()};
}

void put(schema::SignalAction::Builder out, const SignalAction& action) {
  out.setHandler(action.handler);
  out.setFlags(action.flags);
  out.setRestorer(action.restorer);
  out.setMask(action.mask);
}

SignalAction get(schema::SignalAction::Reader in) {
  return {in.getHandler(), in.getFlags(), in.getRestorer(), in.getMask()};
}

void put(schema::Thread::Builder out, const Thread& thread) {
  out.setId(thread.id);
  X86GeneralRegisters general = thread.context.general;
  const auto values = registers_of(general);
  auto registers = out.initRegisters(static_cast<unsigned>(values.size()));
  for (unsigned i = 0; i < registers.size(); ++i) {
    registers.set(i, *values[i]);
  }
  out.setFsBase(thread.context.fs_base);
  out.setGsBase(thread.context.gs_base);
  out.setXsave(data_of(thread.context.xsave));
  out.setBlocked(thread.blocked.bits);
  out.setHasMaskToRestore(thread.mask_to_restore.has_value());
  out.setMaskToRestore(thread.mask_to_restore.value_or(SignalSet{}).bits);
  put_all(out.initPending(count_of(thread.pending)), thread.pending, kPut);
  out.setAlternateBase(thread.alternate_stack.base.value);
  out.setAlternateSize(thread.alternate_stack.size_bytes);
  out.setAlternateFlags(thread.alternate_stack.flags);
  out.setClearChildTid(thread.clear_child_tid.value);
  out.setRobustList(thread.robust_list.value);
  out.setName(thread.name.c_str());
  out.setIsInterrupted(thread.interrupted.has_value());
  if (thread.interrupted) {
    out.setInterruptedNumber(thread.interrupted->number);
    out.setInterruptedRestarts(thread.interrupted->restarts);
  }
  if (thread.wait) {
    put(out.initWait(), *thread.wait);
  }
}

Thread get(schema::Thread::Reader in) {
  Thread thread;
  thread.id = in.getId();
  const auto values = registers_of(thread.context.general);
  const auto registers = in.getRegisters();
  for (unsigned i = 0; i < std::min(count_of(values), registers.size()); ++i) {
    *values[i] = registers[i];
  }
  thread.context.fs_base = in.getFsBase();
  thread.context.gs_base = in.getGsBase();
  thread.context.xsave = bytes_of(in.getXsave());
  thread.blocked = SignalSet{in.getBlocked()};
  if (in.getHasMaskToRestore()) {
    thread.mask_to_restore = SignalSet{in.getMaskToRestore()};
  }
  thread.pending = get_all<std::deque<SignalInfo>>(in.getPending(), kGet);
  thread.alternate_stack = {UserAddress{in.getAlternateBase()}, in.getAlternateSize(),
                            in.getAlternateFlags()};
  thread.clear_child_tid = UserAddress{in.getClearChildTid()};
  thread.robust_list = UserAddress{in.getRobustList()};
  thread.name = text_of(in.getName());
  if (in.getIsInterrupted()) {
    thread.interrupted = Interrupted{in.getInterruptedNumber(), in.getInterruptedRestarts()};
  }
  if (in.hasWait()) {
    thread.wait = get(in.getWait());
  }
  return thread;
}

}  // namespace stasis::linux_guest::codec
