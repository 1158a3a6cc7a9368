#include "hvf/sim/gic_port.h"

#include "hvf/sim/gic_layout.h"

namespace stasis::hvf::sim {

hv_ipa_t GicPort::redistributor_of(std::uint32_t cpu) const {
  return redistributors_ + kRedistributorBytes * cpu;
}

void GicPort::add_cpu(std::uint64_t affinity) {
  with([&](Gic& gic) {
    const std::uint32_t cpu = gic.add_cpu();
    gic.set_affinity(cpu, affinity);
    return cpu;
  });
}

GicLines GicPort::lines_of(std::uint32_t cpu) const {
  return {gic_.has_irq(cpu), gic_.has_fiq(cpu)};
}

void GicPort::drive_changes() {
  for (std::uint32_t i = 0; i < gic_.cpu_count(); ++i) {
    const GicLines lines = lines_of(i);
    Cpu& cpu = cpus_[i];
    if (lines == cpu.driven) {
      continue;
    }
    const bool rises = (lines.irq && !cpu.driven.irq) || (lines.fiq && !cpu.driven.fiq);
    cpu.driven = lines;
    // A line that falls is noticed at the latest when the guest acknowledges and gets nothing.
    drive_(i, lines, cpu.in_guest && rises ? InGuest::kYes : InGuest::kNo);
    if (rises) {
      cpu.changed.notify_all();
    }
  }
}

void GicPort::enter(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  has_run_ = true;
  cpus_[cpu].in_guest = true;
  cpus_[cpu].driven = lines_of(cpu);
  drive_(cpu, cpus_[cpu].driven, InGuest::kNo);
}

void GicPort::leave(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  cpus_[cpu].in_guest = false;
}

bool GicPort::has_run() const {
  const MutexLock lock(mutex_);
  return has_run_;
}

bool GicPort::wait(std::uint32_t cpu, std::chrono::steady_clock::time_point deadline) {
  const MutexLock lock(mutex_);
  Cpu& own = cpus_[cpu];
  while (!own.driven.irq && !own.driven.fiq && !own.woken) {
    if (own.changed.wait_until(mutex_, deadline) == std::cv_status::timeout) {
      break;
    }
  }
  own.woken = false;
  return own.driven.irq || own.driven.fiq;
}

void GicPort::wake(std::uint32_t cpu) {
  const MutexLock lock(mutex_);
  cpus_[cpu].woken = true;
  cpus_[cpu].changed.notify_all();
}

std::optional<GicPort::Frame> GicPort::frame_at(hv_ipa_t ipa) const {
  if (ipa >= distributor_ && ipa - distributor_ < kDistributorBytes) {
    return Frame{std::nullopt, ipa - distributor_};
  }
  const std::uint64_t size = kRedistributorBytes * gic_.cpu_count();
  if (ipa >= redistributors_ && ipa - redistributors_ < size) {
    const std::uint64_t offset = ipa - redistributors_;
    return Frame{static_cast<std::uint32_t>(offset / kRedistributorBytes),
                 offset % kRedistributorBytes};
  }
  return std::nullopt;
}

std::optional<std::uint64_t> GicPort::read(hv_ipa_t ipa, std::uint32_t width) {
  const MutexLock lock(mutex_);
  const std::optional<Frame> frame = frame_at(ipa);
  if (!frame.has_value()) {
    return std::nullopt;
  }
  return frame->cpu.has_value() ? gic_.read_redistributor(*frame->cpu, frame->offset, width)
                                : gic_.read_distributor(frame->offset, width);
}

bool GicPort::write(hv_ipa_t ipa, std::uint32_t width, std::uint64_t value) {
  const MutexLock lock(mutex_);
  const std::optional<Frame> frame = frame_at(ipa);
  if (!frame.has_value()) {
    return false;
  }
  if (frame->cpu.has_value()) {
    gic_.write_redistributor(*frame->cpu, frame->offset, width, value);
  } else {
    gic_.write_distributor(frame->offset, width, value);
  }
  drive_changes();
  return true;
}

}  // namespace stasis::hvf::sim
