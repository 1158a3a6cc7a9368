// The interrupt controller between threads: vCPUs that access or wait for it, devices that raise
// lines, and the processing elements whose interrupt lines it drives.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>

#include <Hypervisor/hv_types.h>

#include "core/mutex.h"
#include "hvf/sim/gic.h"
#include "hvf/sim/monitor/mailbox.h"

namespace stasis::hvf::sim {

// Of a CPU interface. Value.
struct GicLines {
  bool irq = false, fiq = false;
  friend bool operator==(const GicLines&, const GicLines&) = default;
};

// Thread-safe. CPUs are numbered in the order in which their vCPUs were created.
class GicPort {
 public:
  // `drive` puts the lines of the CPU on its processing element, which runs a guest now or, as
  // `in_guest` says, not. Called under the lock.
  enum class InGuest : std::uint8_t { kNo, kYes };
  using Drive = std::function<void(std::uint32_t cpu, GicLines lines, InGuest in_guest)>;

  GicPort(hv_ipa_t distributor, hv_ipa_t redistributors, Drive drive)
      : distributor_(distributor), redistributors_(redistributors), drive_(std::move(drive)) {}

  [[nodiscard]] hv_ipa_t redistributor_of(std::uint32_t cpu) const;
  void add_cpu(std::uint64_t affinity);

  // Calls action(Gic&), then drives the lines that have changed.
  template <typename Action>
  auto with(const Action& action) {
    const MutexLock lock(mutex_);
    auto result = action(gic_);
    drive_changes();
    return result;
  }

  // Around the time in which the CPU's processing element may be in the guest. enter() drives its
  // lines; from then on changes reach a running guest.
  void enter(std::uint32_t cpu);
  void leave(std::uint32_t cpu);
  // A vCPU has entered a guest once: the state cannot be replaced as a whole any more.
  [[nodiscard]] bool has_run() const;

  // Until the CPU has an interrupt, wake(cpu), or the deadline. True: it has one.
  bool wait(std::uint32_t cpu, std::chrono::steady_clock::time_point deadline);
  void wake(std::uint32_t cpu);  // Also if nobody waits: the next wait() is over at once.

  // A guest's access to guest-physical addresses; nothing, or false, where no frame is.
  std::optional<std::uint64_t> read(hv_ipa_t ipa, std::uint32_t width);
  bool write(hv_ipa_t ipa, std::uint32_t width, std::uint64_t value);

 private:
  struct Frame {
    std::optional<std::uint32_t> cpu = {};  // Nothing: the distributor's.
    std::uint64_t offset = 0;
  };
  [[nodiscard]] std::optional<Frame> frame_at(hv_ipa_t ipa) const STASIS_REQUIRES(mutex_);
  [[nodiscard]] GicLines lines_of(std::uint32_t cpu) const STASIS_REQUIRES(mutex_);
  void drive_changes() STASIS_REQUIRES(mutex_);

  const hv_ipa_t distributor_, redistributors_;
  const Drive drive_;

  mutable Mutex mutex_;
  Gic gic_ STASIS_GUARDED_BY(mutex_);
  bool has_run_ STASIS_GUARDED_BY(mutex_) = false;
  struct Cpu {
    GicLines driven;
    bool in_guest = false;
    bool woken = false;
    ConditionVariable changed;
  };
  std::array<Cpu, kGuestPesMax> cpus_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::hvf::sim
