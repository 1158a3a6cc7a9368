// MachineShell: what of a Machine can be made before it is known what will run in it, namely the
// hypervisor's VM and its first vCPU.
//
// Making them takes longer than reading and checking a snapshot, and needs nothing of it. A restore
// therefore begins a shell first: the VM is created while the thread of vCPU 0 starts, which takes
// about as long, and the vCPU while the snapshot is read. A shell has no memory and no state:
// giving it up leaves no trace (decision 0011).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/host_thread.h"
#include "core/hypervisor.h"
#include "core/milestones.h"
#include "core/result.h"

namespace stasis {

// Value.
struct ShellConfig {
  std::uint32_t vcpus_max = 1;           // At most so many vCPUs will be asked of the VM.
  std::uint32_t dirty_ring_entries = 0;  // As VmConfig, and the next.
  InterruptControllerKind interrupt_controller = InterruptControllerKind::kNone;
  std::optional<int> host_cpu = {};    // What the thread of vCPU 0 is pinned to.
  MilestoneLog* milestones = nullptr;  // kVmCreated is recorded here. Borrowed, may be null.
};

// Resource; one owner thread.
class MachineShell {
 public:
  // What fails is the error of the Machine::create() that takes the shell, so that a snapshot's own
  // faults are reported first. `backend` outlives the shell and what is made of it.
  static std::unique_ptr<MachineShell> begin(HypervisorBackend& backend, const ShellConfig& config);
  ~MachineShell();  // Destroys the vCPU and the VM, unless a Machine has taken them.
  MachineShell(const MachineShell&) = delete;
  MachineShell& operator=(const MachineShell&) = delete;
  MachineShell(MachineShell&&) = delete;
  MachineShell& operator=(MachineShell&&) = delete;

  // ---- For Machine ----

  // The VM, once. An error if it could not be created or the thread not be started.
  Result<std::unique_ptr<Vm>> take_vm();
  // After take_vm() succeeded, once: executes `rest` on the shell's thread as soon as vCPU 0 exists
  // or has failed. The thread is the caller's from then on.
  using Rest = std::function<void(Result<std::unique_ptr<Vcpu>>)>;
  HostThread continue_with(Rest rest);

 private:
  struct Meeting;
  explicit MachineShell(std::shared_ptr<Meeting> meeting);

  std::shared_ptr<Meeting> meeting_;  // Shared with the thread, which may outlive the shell.
  Result<std::unique_ptr<Vm>> vm_;
  HostThread thread_;  // Last: it ends before what it uses.
};

}  // namespace stasis
