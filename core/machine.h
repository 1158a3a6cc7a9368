// Machine: a Vm with its RAM, its devices and one thread for each vCPU.
//
// A vCPU's thread creates it, runs it, saves it and destroys it; every other thread sends it
// requests (style: one owner). States of a Machine: paused (every vCPU out of the guest and its
// last instruction complete) and running.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/counter_relation.h"
#include "core/device.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/machine_shell.h"
#include "core/milestones.h"
#include "core/result.h"

namespace stasis {

// Where a vCPU stands while the Machine is paused. The numbers are written to snapshots.
enum class VcpuActivity : std::uint8_t {
  kRunning = 0,  // Executes instructions when resumed.
  kParked = 1,   // Waits for DeviceHost::wake().
  kHalted = 2,   // Will never run again by itself.
};

// All of a paused Machine but its RAM. Value.
struct MachineState {
  std::vector<VcpuState> vcpus;
  std::vector<VcpuActivity> activities;  // As many as vcpus.
  std::vector<bool> wake_pending;        // As many: a wake() arrived that no park has consumed.
  // In bus order, then the interrupt controller, if there is one: without it, that is left as it
  // was created.
  std::vector<DeviceState> devices;
  friend bool operator==(const MachineState&, const MachineState&) = default;
};

enum class StartMode : std::uint8_t {
  kPaused,
  kRunning,  // vCPUs enter the guest as soon as they can: saves a hand-over in a restore.
};

struct MachineConfig {
  std::uint32_t vcpus = 1;
  StartMode start = StartMode::kPaused;
  // Host CPUs that vCPU threads are pinned to, round robin; empty: not pinned.
  std::vector<int> host_cpus = {};
  // As VmConfig, both. Of a shell that is given, its own count.
  std::uint32_t dirty_ring_entries = 0;
  InterruptControllerKind interrupt_controller = InterruptControllerKind::kNone;
  // Loaded by each vCPU's thread right after it has created its vCPU; vcpus must match its size.
  std::optional<MachineState> initial_state = {};
  // kVmCreated, kState, kMapped and kVcpuEnter are recorded here. Borrowed, may be null.
  MilestoneLog* milestones = nullptr;
};

// Threads: all public calls from one owner thread, except wake-ups by devices. Errors leave the
// Machine usable unless they say otherwise. The destructor stops and joins every thread; it cannot
// hang on a guest that loops, because every vCPU can be cancelled.
class Machine {
 public:
  // Creates the VM, registers `memory`, creates all vCPUs (in parallel, each on its own thread) and
  // loads config.initial_state. `shell`: a VM of the same backend begun earlier, for at least as
  // many vCPUs; null: one is begun now. On failure nothing is left behind.
  static Result<std::unique_ptr<Machine>> create(HypervisorBackend& backend,
                                                 std::unique_ptr<GuestMemory> memory,
                                                 std::unique_ptr<DeviceBus> bus,
                                                 MachineConfig config,
                                                 std::unique_ptr<MachineShell> shell = nullptr);
  virtual ~Machine() = default;

  [[nodiscard]] virtual GuestMemory& memory() = 0;
  [[nodiscard]] virtual Vm& vm() = 0;
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  [[nodiscard]] virtual DeviceHost& device_host() = 0;
  [[nodiscard]] virtual std::uint32_t vcpu_count() const = 0;

  // Lets every running vCPU into the guest; releases held ones (AfterWrite::kHold). After a
  // kGuestFailed or kHostFailed event: that failure again, until load_state() replaces the state.
  virtual Result<void> resume() = 0;
  // Every vCPU out of the guest, its last instruction complete (of a parked or held one: the device
  // access is, and save_state() retires the instruction). kTimeout names the vCPUs that did not
  // come; the Machine is then still running. Idempotent.
  virtual Result<void> pause(std::chrono::nanoseconds timeout) = 0;
  [[nodiscard]] virtual bool is_paused() const = 0;

  // The oldest event not yet taken; waits for one. The Machine goes on running (a held vCPU
  // excepted). kTimeout when none came; kInvalidArgument when paused with no event, as none can
  // come.
  virtual Result<MachineEvent> wait_event(std::chrono::nanoseconds timeout) = 0;

  // Paused Machine only: releases held vCPUs, then each vCPU retires up to `instructions` more, and
  // all are paused again; returns early at an event that holds a vCPU (or a failure). One vCPU at a
  // time in index order, so the outcome is deterministic. kNotSupported without
  // Capabilities::instruction_budget.
  virtual Result<void> step(std::uint64_t instructions) = 0;

  // Paused Machine only.
  [[nodiscard]] virtual Result<MachineState> save_state() = 0;
  // kMismatch if the number of vCPUs or the devices differ. On any other error the Machine must be
  // destroyed: it may be half loaded. Events of the state before are forgotten.
  virtual Result<void> load_state(const MachineState& state) = 0;

  // Paused Machine only: its memory and its state do not belong together any more. Until pardon(),
  // whatever else is done, resume(), step() and save_state() fail with `why`.
  virtual void condemn(Error why) = 0;
  virtual void pardon() = 0;

  // Vcpu::counter_relation() of one vCPU. Of a running Machine, that vCPU leaves the guest for it
  // and goes on; kTimeout if it did not come, kInvalidArgument if there is no such vCPU.
  [[nodiscard]] virtual Result<CounterRelation> counter_relation(
      std::uint32_t vcpu, std::chrono::nanoseconds timeout) = 0;

  // Who is told of ExitWriteProtected; nullptr makes such an exit a kHostFailed event. Paused only.
  virtual Result<void> set_write_fault_handler(WriteFaultHandler* handler) = 0;

  // Paused Machine only. collect_dirty() is the one way to ask for dirty pages: tracker.collect(),
  // and the host's writes where the tracker cannot see them. arm_dirty() arms, forgets older host
  // writes and installs the tracker's fault handler; disarm_dirty() undoes it.
  virtual Result<void> arm_dirty(DirtyTracker& tracker) = 0;
  virtual Result<GpaRanges> collect_dirty(DirtyTracker& tracker) = 0;
  virtual Result<void> disarm_dirty(DirtyTracker& tracker) = 0;

  // Paused Machine only: totals since creation, for run records.
  struct Counters {
    std::uint64_t io_exits = 0;
    std::uint64_t unclaimed_accesses = 0;  // Of io_exits: no device answered.
    std::uint64_t write_faults = 0;
    std::uint64_t cancels = 0;
    std::uint64_t interrupts = 0;  // Of cancels: WriteOutcome::interrupt was the reason.
    std::uint64_t entries = 0;
  };
  [[nodiscard]] virtual Counters counters() const = 0;
};

}  // namespace stasis
