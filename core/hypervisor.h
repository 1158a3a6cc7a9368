// The seam between "what a virtual machine is" and "who runs it".
//
// Interfaces without state: HypervisorBackend makes a Vm, a Vm makes Vcpus. What differs between
// backends is data (Capabilities), never #ifdef or a downcast. What only some can do sits in a
// second interface reached through an accessor that may answer nullptr (Vm::dirty_log).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/address.h"
#include "core/capabilities.h"
#include "core/counter_relation.h"
#include "core/guest_memory.h"
#include "core/interrupt_controller.h"
#include "core/ranges.h"
#include "core/result.h"
#include "core/trap.h"
#include "core/vcpu_exit.h"
#include "core/vcpu_state.h"

namespace stasis {

enum class Access : std::uint8_t { kNone, kRead, kReadExecute, kReadWrite, kReadWriteExecute };

// One virtual processor. Thread-affine: created, used and destroyed on one thread; request_exit()
// is the exception.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  // Runs the guest until it needs something. An error is the hypervisor's (kBackend); what the
  // guest does wrong is an ExitFailed.
  virtual Result<VcpuExit> run() = 0;
  // As run(), and returns ExitCanceled when `instructions` more have retired. kNotSupported without
  // Capabilities::instruction_budget.
  virtual Result<VcpuExit> run_for(std::uint64_t instructions) = 0;

  // The answer to the ExitIoRead that the last run() returned (low width_bytes count).
  virtual Result<void> complete_read(std::uint64_t value) = 0;

  // The complete state at an instruction boundary. Completes an instruction whose device access was
  // already delivered (and answered), without running any further one.
  [[nodiscard]] virtual Result<VcpuState> save_state() = 0;
  // Replaces the state. kMismatch, naming the part, if this host cannot hold it (a CPU feature, an
  // MSR, the XSAVE size); the vCPU must then be destroyed.
  virtual Result<void> load_state(const VcpuState& state) = 0;

  // Instructions retired since creation or load_state()'s value; only the difference of two calls
  // has a meaning. A device access counts when it is complete: a write when its exit is returned, a
  // read when it is answered. 0 without Capabilities::instruction_budget.
  [[nodiscard]] virtual std::uint64_t instructions_retired() const { return 0; }

  // Where the guest's time-stamp counter stands against the host's, for converting a moment that
  // the guest has noted. Holds until the next load_state(), or until the guest sets its counter.
  // kNotSupported where the backend cannot tell: guests of another architecture or with a counter
  // of their own kind, a host whose counter is unstable.
  [[nodiscard]] virtual Result<CounterRelation> counter_relation() {
    return Error{Errc::kNotSupported, 0,
                 "this backend does not know how its guests' counters follow from the host's"};
  }

  // Registers between exits for a TrapHandler; nullptr where the backend offers none. Part of the
  // vCPU, and valid after an ExitIoWrite until the next run().
  [[nodiscard]] virtual X86TrapAccess* trap_access() { return nullptr; }

  // Any thread. The current or the next run() returns ExitCanceled, at an instruction boundary.
  // Requests do not add up: several before one ExitCanceled count once.
  virtual void request_exit() noexcept = 0;
};

// A hypervisor's own record of the pages that the *guest* wrote; host writes are not in it.
// Every vCPU must be out of the guest for start(), stop() and, but for collects_while_running(),
// collect(). Owner thread of the Vm only.
class DirtyLog {
 public:
  virtual ~DirtyLog() = default;
  // All mapped RAM, clean from now on. kInvalidArgument while this or another log of the VM runs.
  virtual Result<void> start() = 0;
  virtual Result<GpaRanges> collect() = 0;  // Page multiples; re-arms what it returns.
  virtual Result<void> stop() = 0;
  // false: pages that the guest only read may be reported too; a written one is never missed.
  [[nodiscard]] virtual bool is_exact() const { return true; }
  // As TrackerTraits::collects_while_running.
  [[nodiscard]] virtual bool collects_while_running() const { return false; }
};

// One virtual machine. Thread-compatible, with two exceptions that a fast restore needs:
// create_vcpu() is called on the thread that will own the vCPU, for several vCPUs at a time and
// while another thread is in map(); and protect() may give permission back from any thread.
// Vcpu::load_state() may run at the same time as map(), too; run() comes after it.
class Vm {
 public:
  virtual ~Vm() = default;

  // Makes all regions of `memory` guest RAM. `memory` must outlive the Vm. Once, before any vCPU
  // runs. A backend may finish the registration in the background as long as no guest can tell.
  virtual Result<void> map(GuestMemory& memory, Access access) = 0;

  // Changes the guest's permission on page-multiple ranges of RAM, in one batch. Only the guest is
  // affected, never the host. kNotSupported without Capabilities::write_protection. Any thread may
  // give permission back while other vCPUs run; taking it away needs every vCPU out of the guest.
  virtual Result<void> protect(std::span<const GpaRange> ranges, Access access) = 0;

  // Index 0 .. VmConfig::vcpus - 1, each once; all before the first of them runs.
  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) = 0;

  // nullptr if this VM keeps no such log: without Capabilities::dirty_page_tracking none, with
  // VmConfig::dirty_ring_entries only the ring. Owned by the Vm.
  virtual DirtyLog* dirty_log(DirtyLogKind kind) = 0;
  DirtyLog* dirty_log() { return dirty_log(DirtyLogKind::kBitmap); }

  // nullptr with InterruptControllerKind::kNone. Owned by the Vm.
  virtual InterruptController* interrupt_controller() { return nullptr; }
};

// What the backend may assume about the VM. Value.
struct VmConfig {
  std::uint32_t vcpus = 1;  // At most so many will be created.
  // Other than 0: each vCPU logs the pages that it writes to a ring of so many entries, and the VM
  // keeps no other dirty log. A power of two, kDirtyRingEntriesMin to
  // Capabilities::dirty_ring_entries_max.
  std::uint32_t dirty_ring_entries = 0;
  InterruptControllerKind interrupt_controller = InterruptControllerKind::kNone;
};

// kNotSupported, naming the backend, if `config` wants an interrupt controller: for backends that
// have none.
Result<void> refuse_interrupt_controller(const VmConfig& config, std::string_view backend);

// A way to run VMs on this host. Immutable after creation, shareable between threads.
class HypervisorBackend {
 public:
  virtual ~HypervisorBackend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // As on the command line.
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  // kInvalidArgument naming both limits when config.vcpus is 0 or above the design's or the host's,
  // or naming the limits of rings; kNotSupported for rings without Capabilities::dirty_ring, and
  // for an interrupt controller without Capabilities::interrupt_controller.
  virtual Result<std::unique_ptr<Vm>> create_vm(const VmConfig& config) = 0;
  // Asks the host what the first create_vcpu() will need, if it has not been asked. Any thread,
  // also while another creates a VM; failures show when the vCPU is created.
  virtual void warm_up() {}
};

}  // namespace stasis
