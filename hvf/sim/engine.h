// The processor of the simulation: QEMU with the monitor, one processing element (PE) for each vCPU
// and one that serves. Everything that waits for QEMU is here, and no wait is without end unless a
// guest runs: a QEMU that has ended, or that does not answer, is an error that says so, for ever.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/mutex.h"
#include "core/result.h"
#include "core/unique_fd.h"
#include "hvf/sim/monitor/mailbox.h"
#include "hvf/sim/qemu.h"
#include "hvf/sim/shared_memory.h"

namespace stasis::hvf::sim {

// Whether a guest may run that has to notice.
enum class Attention : std::uint8_t { kNotNeeded, kNeeded };

class Engine {
 public:
  // With 2 to kPesMax PEs; each that is there costs whenever a guest invalidates translations of
  // all CPUs. Returns when the service PE serves. kBackend or kIo with QEMU's own words.
  static Result<std::unique_ptr<Engine>> start(std::uint32_t pes);
  ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] std::uint32_t pes() const { return pe_count_; }
  [[nodiscard]] SharedMemory& memory() { return *memory_; }
  [[nodiscard]] Mailbox& mailbox(std::uint32_t pe) { return memory_->mailbox(pe); }

  // PE 1 to kGuestPesMax. Each by one thread at a time; the mailbox holds the arguments.
  // Starts the PE unless it runs already.
  Result<void> power_on(std::uint32_t pe);
  // Enters the guest and returns when it is back, however long that takes. kBackend also when the
  // monitor failed.
  Result<void> run(std::uint32_t pe);
  Result<void> save_state(std::uint32_t pe);

  // Any thread. Gets a running guest out, or keeps the next run() from entering.
  void cancel(std::uint32_t pe);
  [[nodiscard]] bool is_canceled(std::uint32_t pe);
  [[nodiscard]] bool take_cancel(std::uint32_t pe);  // Whether there was one; there is none now.

  // The guest's interrupt lines from the next entry on or, if it is in the guest and `attention` is
  // needed, from now on. Any thread, but of one PE one at a time.
  void set_lines(std::uint32_t pe, bool irq, bool fiq, Attention attention);

  // Any thread, also while guests run: by the service PE.
  Result<void> flush_tlbs();
  Result<void> rewrite(std::uint64_t machine_address, std::uint64_t size);
  Result<std::uint64_t> counter();

  // Why QEMU is of no use any more.
  [[nodiscard]] std::optional<Error> failure() const;
  // For tests of just that.
  [[nodiscard]] std::optional<int> qemu_process_id() const { return qemu_->process_id(); }

 private:
  enum class Bound : std::uint8_t { kCommand, kGuest };

  Engine(std::unique_ptr<SharedMemory> memory, std::uint32_t pes)
      : pe_count_(pes), memory_(std::move(memory)) {}

  Result<void> request(std::uint32_t pe, Request what, Bound bound);
  Result<void> wait_for_bell(std::uint32_t pe, Bound bound);
  Result<void> command(std::uint32_t pe, Command what);
  Result<std::uint64_t> serve(Command what, std::array<std::uint64_t, 2> arguments);
  [[nodiscard]] Result<void> check_panic(std::uint32_t pe);

  // Constant after start().
  const std::uint32_t pe_count_;
  std::unique_ptr<SharedMemory> memory_;
  UniqueFd program_;

  Mutex service_;  // Held by who uses the service PE.

  mutable Mutex mutex_;
  struct Pe {
    std::uint32_t bells = 0;  // Rung, and not waited for yet.
    bool is_on = false;
    std::optional<std::chrono::steady_clock::time_point> canceled_at;
    ConditionVariable changed;
  };
  std::array<Pe, kPesMax> pes_ STASIS_GUARDED_BY(mutex_);
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);

  std::unique_ptr<Qemu> qemu_;  // Last: its thread uses the others.
};

}  // namespace stasis::hvf::sim
