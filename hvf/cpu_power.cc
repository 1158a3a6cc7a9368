#include "hvf/cpu_power.h"

#include <algorithm>

namespace stasis::hvf {
namespace {

// "AFFINITY_INFO" (DEN 0022, 5.1.5).
constexpr std::uint64_t kInfoOn = 0, kInfoOff = 1, kInfoOnPending = 2;

}  // namespace

void CpuPower::add(std::uint32_t cpu, std::uint64_t affinity) {
  const MutexLock lock(mutex_);
  cpus_[cpu].state = State::kOn;
  cpus_[cpu].affinity = affinity & kAffinityMask;
}

void CpuPower::set(std::uint32_t cpu, Power power) {
  const MutexLock lock(mutex_);
  cpus_[cpu].state = power == Power::kOn ? State::kOn : State::kOff;
}

bool CpuPower::is_on(std::uint32_t cpu) const {
  const MutexLock lock(mutex_);
  return cpus_[cpu].state == State::kOn;
}

const CpuPower::Cpu* CpuPower::find(std::uint64_t affinity) const {
  const auto found = std::ranges::find_if(cpus_, [affinity](const Cpu& cpu) {
    return cpu.state != State::kAbsent && cpu.affinity == affinity;
  });
  return found != cpus_.end() ? &*found : nullptr;
}

PsciStatus CpuPower::turn_on(const PsciCpuOn& call) {
  const MutexLock lock(mutex_);
  const Cpu* const target = find(call.affinity);
  if (target == nullptr) {
    return PsciStatus::kInvalidParameters;
  }
  if (target->state != State::kOff) {
    return target->state == State::kOn ? PsciStatus::kAlreadyOn : PsciStatus::kOnPending;
  }
  Cpu& cpu = cpus_[static_cast<std::size_t>(target - cpus_.data())];
  cpu.state = State::kPending;
  cpu.start = {call.entry, call.context};
  changed_.notify_all();
  return PsciStatus::kSuccess;
}

std::uint64_t CpuPower::affinity_info(std::uint64_t affinity) const {
  const MutexLock lock(mutex_);
  const Cpu* const target = find(affinity);
  if (target == nullptr) {
    return to_register(PsciStatus::kInvalidParameters);
  }
  if (target->state == State::kPending) {
    return kInfoOnPending;
  }
  return target->state == State::kOn ? kInfoOn : kInfoOff;
}

void CpuPower::turn_off(std::uint32_t cpu) {
  set(cpu, Power::kOff);
}

std::optional<CpuStart> CpuPower::take_start(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  if (cpus_[cpu].state != State::kPending) {
    return std::nullopt;
  }
  cpus_[cpu].state = State::kOn;
  return cpus_[cpu].start;
}

bool CpuPower::wait_for_start(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  Cpu& own = cpus_[cpu];
  while (own.state != State::kPending && !own.woken) {
    changed_.wait(mutex_);
  }
  own.woken = false;
  return own.state == State::kPending;
}

void CpuPower::wake(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  cpus_[cpu].woken = true;
  changed_.notify_all();
}

}  // namespace stasis::hvf
