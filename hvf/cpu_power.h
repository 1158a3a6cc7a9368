// Which of a VM's CPUs are on: what PSCI's calls about other CPUs act on, and what a CPU that is
// off waits for. No framework, every host.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/mutex.h"
#include "hvf/psci.h"

namespace stasis::hvf {

// Where a CPU begins. Value.
struct CpuStart {
  std::uint64_t entry = 0;    // Guest-physical.
  std::uint64_t context = 0;  // X0.
  friend bool operator==(const CpuStart&, const CpuStart&) = default;
};

// Thread-safe. A CPU that was turned on stays "on pending" until it takes its start.
class CpuPower {
 public:
  explicit CpuPower(std::uint32_t cpus) : cpus_(cpus) {}

  // A CPU exists from then on, with this affinity (kAffinityMask), and is on.
  void add(std::uint32_t cpu, std::uint64_t affinity);
  // For a state that is loaded: nothing is pending then.
  enum class Power : std::uint8_t { kOff, kOn };
  void set(std::uint32_t cpu, Power power);
  [[nodiscard]] bool is_on(std::uint32_t cpu) const;

  // By a CPU about another, or itself.
  PsciStatus turn_on(const PsciCpuOn& call);
  [[nodiscard]] std::uint64_t affinity_info(std::uint64_t affinity) const;  // For X0.

  // By a CPU about itself.
  void turn_off(std::uint32_t cpu);
  // Its start, once, after another CPU has turned it on: it is on then.
  std::optional<CpuStart> take_start(std::uint32_t cpu);
  // Waits until there is a start to take, or until wake(); false if there is none.
  bool wait_for_start(std::uint32_t cpu);
  void wake(std::uint32_t cpu);  // Also if nobody waits: the next wait is over at once.

 private:
  enum class State : std::uint8_t { kAbsent, kOn, kOff, kPending };
  struct Cpu {
    State state = State::kAbsent;
    std::uint64_t affinity = 0;
    CpuStart start;
    bool woken = false;
  };
  [[nodiscard]] const Cpu* find(std::uint64_t affinity) const STASIS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::vector<Cpu> cpus_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::hvf
