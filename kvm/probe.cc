#include "kvm/probe.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kvm/host_cpuid.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_vm.h"

namespace stasis::kvm {
namespace {

constexpr std::string_view kKernelCure = "Use a newer kernel.";

Availability note(std::string_view name, bool available, std::string_view reason,
                  std::string_view cure) {
  if (available) {
    return Availability{std::string(name), true, {}, {}};
  }
  return Availability{std::string(name), false, std::string(reason), std::string(cure)};
}

std::vector<Availability> make_notes(const HostFacts& facts) {
  const bool hardware = facts.features().engine == Engine::kHardware;
  return {
      note("dirty log", true, "", ""),
      note("write protection by the hypervisor", false,
           "KVM reports no address when it meets a page that the host has protected",
           "Use the tracker that write-protects with userfaultfd, or the dirty log."),
      note("synchronized registers", facts.features().shared_registers != 0,
           "KVM_CAP_SYNC_REGS is missing: saving or loading a vCPU takes two system calls more",
           kKernelCure),
      note("xsave2", facts.features().has_xsave2,
           "KVM_CAP_XSAVE2 is missing: FP/SIMD state beyond 4096 bytes (AMX) cannot be saved",
           kKernelCure),
      note("read-only memory", facts.features().has_readonly_memory,
           "KVM_CAP_READONLY_MEM is missing", kKernelCure),
      note("memory-fault exits", facts.features().has_memory_fault_exit,
           "KVM_CAP_MEMORY_FAULT_INFO is missing: errors name no guest address", kKernelCure),
      note("exit on emulation failure", facts.features().has_exit_on_emulation_failure,
           "KVM_CAP_EXIT_ON_EMULATION_FAILURE is missing: guest RAM is registered before the "
           "first instruction",
           kKernelCure),
      note("hardware virtualization", hardware,
           "the PVM module serves /dev/kvm: ring-3 guests run at full speed, an unmodified kernel "
           "does not boot, and a guest page table must not be changed by the host",
           "Use a host with Intel VT-x or AMD SVM for guests with a kernel."),
      note("guest clock continues", hardware,
           "the PVM module shows guests the host's time-stamp counter: they see it jump across a "
           "restore",
           "Use a host with Intel VT-x or AMD SVM."),
      note("CPU features hidden from guests", hardware,
           "the PVM module shows guests the processor's own CPUID",
           "Use a host with Intel VT-x or AMD SVM."),
  };
}

Result<Capabilities> make_capabilities(HostFacts& facts) {
  Capabilities out;
  out.kind = BackendKind::kKvm;
  out.architecture = Architecture::kX86_64;
  out.host_vcpus_max = facts.features().vcpus_max;
  out.vcpus_max = std::min(kVcpusMax, facts.features().vcpus_max);
  out.page_size_bytes = 4096;
  out.vms_per_process = 0;
  out.dirty_page_tracking = true;
  const HostFeatures& features = facts.features();
  out.manual_dirty_log = note(name_of(DirtyLogKind::kManualClear), features.manual_dirty_modes != 0,
                              "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is missing",
                              "use Linux 5.0 or later, or --tracker dirty-log");
  out.dirty_ring_entries_max =
      features.dirty_ring_bytes_max / static_cast<std::uint32_t>(sizeof(kvm_dirty_gfn));
  out.dirty_ring =
      note(name_of(DirtyLogKind::kRing), out.dirty_ring_entries_max >= kDirtyRingEntriesMin,
           "KVM_CAP_DIRTY_LOG_RING is missing or its rings are too short",
           "use Linux 5.11 or later, or --tracker dirty-log");
  out.port_io = true;
  out.clock_policy = facts.features().engine == Engine::kHardware ? ClockPolicy::kGuestContinues
                                                                  : ClockPolicy::kHostCounter;
  if (facts.features().engine == Engine::kHardware) {
    STASIS_ASSIGN(const std::vector<X86CpuidEntry> cpuid, facts.guest_cpuid());
    out.cpu_features = features_of(cpuid, facts.features().guest_xcr0);
  } else {
    out.cpu_features = features_of(host_feature_leaves(), facts.features().guest_xcr0);
  }
  out.notes = make_notes(facts);
  return out;
}

class KvmBackend final : public HypervisorBackend {
 public:
  KvmBackend(std::shared_ptr<HostFacts> facts, Capabilities capabilities, Options options)
      : facts_(std::move(facts)),
        capabilities_(std::move(capabilities)),
        options_(std::move(options)) {}

  [[nodiscard]] std::string_view name() const override { return "kvm"; }
  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }

  Result<std::unique_ptr<Vm>> create_vm(const VmConfig& config) override {
    if (config.vcpus == 0 || config.vcpus > capabilities_.vcpus_max) {
      return Error{Errc::kInvalidArgument, 0,
                   "a VM has 1 to " + std::to_string(capabilities_.vcpus_max) + " vCPUs, not " +
                       std::to_string(config.vcpus) + ": the design's limit is " +
                       std::to_string(kVcpusMax) + ", this host's KVM allows " +
                       std::to_string(capabilities_.host_vcpus_max)};
    }
    STASIS_TRY(check_ring(config.dirty_ring_entries));
    STASIS_TRY(refuse_interrupt_controller(config, name()));
    return KvmVm::create(facts_, config, options_);
  }
  void warm_up() override { static_cast<void>(facts_->guest_cpuid()); }  // It is kept there.

 private:
  [[nodiscard]] Result<void> check_ring(std::uint32_t entries) const {
    if (entries == 0) {
      return {};
    }
    if (!capabilities_.dirty_ring.available) {
      return Error{
          Errc::kNotSupported, 0,
          "dirty rings: " + capabilities_.dirty_ring.reason + "; " + capabilities_.dirty_ring.cure};
    }
    if (!std::has_single_bit(entries) || entries < kDirtyRingEntriesMin ||
        entries > capabilities_.dirty_ring_entries_max) {
      return Error{Errc::kInvalidArgument, 0,
                   "dirty rings of " + std::to_string(entries) + " entries: a power of two from " +
                       std::to_string(kDirtyRingEntriesMin) + " to " +
                       std::to_string(capabilities_.dirty_ring_entries_max) + " is needed"};
    }
    return {};
  }

  // Constant after construction (the facts synchronise themselves).
  std::shared_ptr<HostFacts> facts_;
  Capabilities capabilities_;
  Options options_;
};

}  // namespace

Result<std::unique_ptr<HypervisorBackend>> make_backend(const Options& options) {
  STASIS_ASSIGN(std::shared_ptr<HostFacts> facts,
                HostFacts::open(options.device_path, options.registers));
  STASIS_ASSIGN(Capabilities capabilities, make_capabilities(*facts));
  return std::unique_ptr<HypervisorBackend>(
      std::make_unique<KvmBackend>(std::move(facts), std::move(capabilities), options));
}

}  // namespace stasis::kvm
