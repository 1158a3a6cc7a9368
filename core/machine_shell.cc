#include "core/machine_shell.h"

#include <atomic>
#include <utility>

#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/spin.h"

namespace stasis {

// Where the owner tells the thread of the VM, and what is to become of it.
struct MachineShell::Meeting {
  // nullptr: there is none.
  void publish(Vm* created) {
    vm = created;
    published.store(true, std::memory_order_release);  // Publishes vm.
    published.notify_one();
  }
  Vm* wait_for_vm() {
    internal::spin_until([this] { return published.load(std::memory_order_acquire); });
    published.wait(false, std::memory_order_acquire);
    return vm;
  }

  // An empty `rest` gives the VM up.
  void decide(Rest what) {
    {
      const MutexLock lock(mutex);
      rest = std::move(what);
      decided.store(true, std::memory_order_release);
    }
    changed.notify_one();
  }
  Rest wait_for_rest() {
    internal::spin_until([this] { return decided.load(std::memory_order_acquire); });
    const MutexLock lock(mutex);
    while (!decided.load(std::memory_order_relaxed)) {  // Ordered by the mutex.
      changed.wait(mutex);
    }
    return std::move(rest);
  }

  Vm* vm = nullptr;  // Written before and read after published changes.
  std::atomic<bool> published = false;
  Mutex mutex;
  ConditionVariable changed;
  std::atomic<bool> decided = false;  // Changes under the mutex.
  Rest rest STASIS_GUARDED_BY(mutex);
};

namespace {

Result<std::unique_ptr<Vcpu>> create_first(Vm& vm, std::optional<int> host_cpu) {
  if (host_cpu) {
    STASIS_TRY(pin_this_thread(*host_cpu));
  }
  return vm.create_vcpu(0);
}

}  // namespace

MachineShell::MachineShell(std::shared_ptr<Meeting> meeting)
    : meeting_(std::move(meeting)), vm_(std::unique_ptr<Vm>()) {}

std::unique_ptr<MachineShell> MachineShell::begin(HypervisorBackend& backend,
                                                  const ShellConfig& config) {
  std::unique_ptr<MachineShell> shell(new MachineShell(std::make_shared<Meeting>()));
  auto started = HostThread::start(
      "the thread of vCPU 0", [&backend, meeting = shell->meeting_, host_cpu = config.host_cpu] {
        backend.warm_up();
        Vm* const vm = meeting->wait_for_vm();
        if (vm == nullptr) {
          return;
        }
        Result<std::unique_ptr<Vcpu>> vcpu = create_first(*vm, host_cpu);
        if (const Rest rest = meeting->wait_for_rest()) {
          rest(std::move(vcpu));
        }
      });
  if (!started) {
    shell->vm_ = std::move(started).error();
    return shell;
  }
  shell->thread_ = *std::move(started);
  shell->vm_ = backend.create_vm(
      VmConfig{config.vcpus_max, config.dirty_ring_entries, config.interrupt_controller});
  if (shell->vm_ && config.milestones != nullptr) {
    config.milestones->record(Milestone::kVmCreated);
  }
  shell->meeting_->publish(shell->vm_ ? shell->vm_->get() : nullptr);
  return shell;
}

MachineShell::~MachineShell() {
  if (thread_.joinable()) {
    meeting_->decide({});
    thread_.join();
  }
}

Result<std::unique_ptr<Vm>> MachineShell::take_vm() {
  return std::move(vm_);
}

HostThread MachineShell::continue_with(Rest rest) {
  STASIS_CHECK(thread_.joinable() && rest != nullptr);
  meeting_->decide(std::move(rest));
  return std::move(thread_);
}

}  // namespace stasis
