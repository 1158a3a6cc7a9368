#include "hvf/sim/gic_run.h"

#include <algorithm>
#include <chrono>
#include <variant>

#include "hvf/sim/guest_run.h"
#include "hvf/syndrome.h"

namespace stasis::hvf::sim {
namespace {

// CNTV_CTL_EL0.
constexpr std::uint64_t kTimerEnabled = 1, kTimerMasked = 2, kTimerReached = 4;

// How often a vCPU that waits for an interrupt looks whether QEMU still lives.
constexpr auto kGlance = std::chrono::seconds(1);

void skip(Vcpu& vcpu, const Mailbox& box) {
  vcpu.registers.set(HV_REG_PC, box.pc + bytes_to_skip(box.syndrome));
}

std::uint64_t value_of(const Vcpu& vcpu, GeneralRegister reg) {
  std::uint64_t value = 0;
  if (reg.has_value()) {
    vcpu.registers.get(hv_reg_t{*reg}, value);
  }
  return value;
}

void set_timer_line(Vcpu& vcpu, GicPort& gic, bool level) {  // NOLINT: a level.
  vcpu.timer_line = level;
  gic.with([&](Gic& registers) {
    registers.set_ppi(vcpu.creation_index, HV_GIC_INT_EL1_VIRTUAL_TIMER, level);
    return level;
  });
}

// The interrupt's line is the timer's own output. The processing element's timer interrupt, which
// only gets a guest out, is off while the line is high.
void follow_timer(Vcpu& vcpu, GicPort& gic, const Mailbox& box) {
  constexpr std::uint64_t kAll = kTimerEnabled | kTimerMasked | kTimerReached;
  const bool level =
      !vcpu.timer_masked && (box.timer_control & kAll) == (kTimerEnabled | kTimerReached);
  if (level != vcpu.timer_line) {
    set_timer_line(vcpu, gic, level);
  }
}

// Nothing if it is off, or has said that it is due: then its line says what there is to say. It may
// be due without having said so, for QEMU sets the status when the thread of its timers runs.
std::optional<std::chrono::nanoseconds> until_timer(const Mailbox& box) {
  constexpr std::uint64_t kAll = kTimerEnabled | kTimerMasked | kTimerReached;
  if ((box.timer_control & kAll) != kTimerEnabled) {
    return std::nullopt;
  }
  if (box.timer_compare <= box.timer_count) {
    return std::chrono::nanoseconds(0);
  }
  constexpr std::uint64_t kLongest = std::uint64_t{1} << 40U;  // Hours.
  const std::uint64_t ticks = std::min(box.timer_compare - box.timer_count, kLongest);
  return std::chrono::nanoseconds(ticks * 125 / 3);  // 24 MHz.
}

// Over when there is an interrupt, although the guest may have masked it, and when the timer is
// due, whose interrupt then takes the guest out. Canceled, the instruction is not over.
Result<bool> wait_for_interrupt(Vcpu& vcpu, Machine& machine, const Mailbox& box) {
  const auto begin = std::chrono::steady_clock::now();
  const std::optional<std::chrono::nanoseconds> timer = until_timer(box);
  while (true) {
    if (machine.engine->is_canceled(vcpu.pe)) {
      return true;
    }
    if (auto why = machine.engine->failure(); why.has_value()) {
      return *std::move(why);
    }
    const auto now = std::chrono::steady_clock::now();
    if (timer.has_value() && now >= begin + *timer) {
      break;
    }
    const auto glance = now + kGlance;
    if (machine.gic->wait(vcpu.creation_index,
                          timer.has_value() ? std::min(begin + *timer, glance) : glance)) {
      break;
    }
  }
  skip(vcpu, box);
  return true;
}

Result<bool> access_register(Vcpu& vcpu, GicPort& gic, const SystemRegisterTrap& access,
                             const Mailbox& box) {
  const std::uint32_t cpu = vcpu.creation_index;
  if (access.access == RegisterAccess::kWrite) {
    const std::uint64_t value = value_of(vcpu, access.reg);
    const bool done =
        gic.with([&](Gic& registers) { return registers.write_icc(cpu, access.encoding, value); });
    if (!done) {
      return false;
    }
  } else {
    const std::optional<std::uint64_t> value =
        gic.with([&](Gic& registers) { return registers.read_icc(cpu, access.encoding); });
    if (!value.has_value()) {
      return false;
    }
    if (access.reg.has_value()) {
      vcpu.registers.set(hv_reg_t{*access.reg}, *value);
    }
  }
  skip(vcpu, box);
  return true;
}

Result<bool> access_frame(Vcpu& vcpu, GicPort& gic, const DataAbort& abort, const Mailbox& box) {
  if (!abort.access.has_value() || abort.is_table_walk) {
    return false;
  }
  const hv_ipa_t ipa = fault_address(box);
  const AbortedAccess& access = *abort.access;
  if (abort.is_write) {
    const std::uint64_t value = stored_value(access, value_of(vcpu, access.reg));
    if (!gic.write(ipa, access.width_bytes, value)) {
      return false;
    }
  } else {
    const std::optional<std::uint64_t> value = gic.read(ipa, access.width_bytes);
    if (!value.has_value()) {
      return false;
    }
    if (access.reg.has_value()) {
      vcpu.registers.set(hv_reg_t{*access.reg}, loaded_value(access, *value));
    }
  }
  skip(vcpu, box);
  return true;
}

}  // namespace

// Low until the processing element says otherwise, which it does at once if the timer is due.
void forget_stale_timer(Vcpu& vcpu, Machine& machine) {
  if (vcpu.timer_is_stale && vcpu.timer_line) {
    set_timer_line(vcpu, *machine.gic, false);
  }
  vcpu.timer_is_stale = false;
}

Result<bool> answer_for_gic(Vcpu& vcpu, Machine& machine, const Mailbox& box) {
  GicPort& gic = *machine.gic;
  follow_timer(vcpu, gic, box);
  if (static_cast<Reason>(box.reason) == Reason::kTimer) {
    return true;
  }
  if (static_cast<Reason>(box.reason) != Reason::kException) {
    return false;
  }
  const Trap trap = decode_syndrome(box.syndrome);
  if (const auto* const access = std::get_if<SystemRegisterTrap>(&trap); access != nullptr) {
    return access_register(vcpu, gic, *access, box);
  }
  if (const auto* const abort = std::get_if<DataAbort>(&trap); abort != nullptr) {
    return access_frame(vcpu, gic, *abort, box);
  }
  if (const auto* const wait = std::get_if<WaitTrap>(&trap);
      wait != nullptr && wait->kind == WaitKind::kWfi) {
    return wait_for_interrupt(vcpu, machine, box);
  }
  return false;
}

}  // namespace stasis::hvf::sim
