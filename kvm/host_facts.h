// What this host's KVM can do, asked once for each backend and shared by its VMs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "core/result.h"
#include "core/x86_state.h"
#include "kvm/kvm_fd.h"
#include "kvm/options.h"

namespace stasis::kvm {

// Who executes the guest below /dev/kvm. It decides what no capability tells: whether a guest sees
// the CPUID and the time-stamp counter that KVM was given.
enum class Engine : std::uint8_t {
  kHardware,  // Intel VMX or AMD SVM.
  kPvm,       // The pagetable virtual machine module: shadow paging, guests run natively in ring 3.
};

// What KVM answered to the questions about its limits and optional parts. Value.
struct HostFeatures {
  Engine engine = Engine::kHardware;
  std::size_t run_mapping_bytes = 0;  // Of a vCPU's kvm_run.
  std::uint32_t slots_max = 0;
  std::uint32_t vcpus_max = 0;
  std::size_t xsave_bytes = 4096;
  std::uint64_t guest_xcr0 = 3;        // The XSAVE components that KVM can give to a guest.
  std::uint64_t shared_registers = 0;  // KVM_SYNC_X86_*: what kvm_run can carry.
  bool has_xsave2 = false;
  bool has_readonly_memory = false;
  std::uint32_t manual_dirty_modes = 0;    // KVM_DIRTY_LOG_*; 0: no manual protection.
  std::uint32_t dirty_ring_bytes_max = 0;  // Of a vCPU's ring; 0: no rings.
  bool has_exception_payload = false;
  bool has_triple_fault_event = false;
  bool has_exit_on_emulation_failure = false;
  bool has_memory_fault_exit = false;
  bool has_tsc_scaling = false;

  // Whether kvm_run carries all of these register files (KVM_SYNC_X86_*).
  [[nodiscard]] bool shares(std::uint64_t files) const noexcept {
    return (shared_registers & files) == files;
  }
};

// Immutable but for the lazily computed parts, which are thread-safe. Made by open().
class HostFacts {
 public:
  // Opens the device. Errors, each with its cure: kNotFound (no device), kIo (no permission, busy),
  // kNotSupported (not KVM, another API version, or a capability is missing: names all of them).
  static Result<std::shared_ptr<HostFacts>> open(
      const std::string& device_path, RegisterTransfer registers = RegisterTransfer::kShared);

  [[nodiscard]] const KvmFd& system() const noexcept { return system_; }
  [[nodiscard]] const HostFeatures& features() const noexcept { return features_; }

  // The MSRs that make up a vCPU's state, ascending, without IA32_TSC. The first call asks the
  // kernel (some 0.3 ms under nested virtualization), so that only processes that save pay.
  Result<std::vector<std::uint32_t>> msr_indices();
  // Removes an MSR that the kernel lists but cannot read.
  void forget_msr(std::uint32_t index);

  // Whether the host's kernel itself tells the time from the time-stamp counter: then it is
  // constant, and the same on all CPUs.
  [[nodiscard]] bool host_trusts_counter();

  // The CPUID list for a new vCPU, with APIC id 0. See decision 0009 for what is in it under kPvm.
  Result<std::vector<X86CpuidEntry>> guest_cpuid();

 private:
  explicit HostFacts(KvmFd system) : system_(std::move(system)) {}
  Result<void> ask(const std::string& device_path);
  Result<std::vector<X86CpuidEntry>> supported_cpuid() const;
  [[nodiscard]] std::vector<X86CpuidEntry> essential_cpuid() const;

  // Constant after open().
  KvmFd system_;
  HostFeatures features_;
  Mutex mutex_;
  std::vector<std::uint32_t> msr_indices_ STASIS_GUARDED_BY(mutex_);
  std::vector<X86CpuidEntry> guest_cpuid_ STASIS_GUARDED_BY(mutex_);
  std::optional<bool> trusts_counter_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::kvm
