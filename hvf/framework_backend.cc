#include <algorithm>
#include <string>

#include <Hypervisor/Hypervisor.h>

#include "hvf/backend.h"
#include "hvf/framework_error.h"
#include "hvf/framework_vm.h"
#include "hvf/platform.h"

namespace stasis::hvf {
namespace {

// The host's page; the granule of 4 KiB of macOS 26 is not used.
constexpr std::uint64_t kPageBytes = 0x4000;

Capabilities make_capabilities(std::uint32_t host_vcpus_max) {
  Capabilities out;
  out.kind = platform().kind;
  out.architecture = Architecture::kArm64;
  out.host_vcpus_max = host_vcpus_max;
  out.vcpus_max = std::min(kVcpusMax, host_vcpus_max);
  out.page_size_bytes = kPageBytes;
  out.vms_per_process = 1;
  out.write_protection = true;
  out.postcopy_restore = true;
  out.interrupt_controller = true;
  out.clock_policy = ClockPolicy::kGuestContinues;
  out.notes = {
      {"write_protection", true, "", ""},
      {"missing_page_exits", true, "", ""},
      {"dirty_log", false, "Hypervisor.framework keeps no record of written pages",
       "use write protection"},
      {"instruction_budget", false, "Hypervisor.framework does not count a guest's instructions",
       ""},
      {"port_io", false, "arm64 has no port instructions", "use an MMIO device"},
      {"interrupt_controller", true, "", ""},
      {"sme", false, "the state of SME is not saved, so that guests do not see it", ""},
  };
  return out;
}

class HvfBackend final : public HypervisorBackend {
 public:
  explicit HvfBackend(std::uint32_t host_vcpus_max)
      : capabilities_(make_capabilities(host_vcpus_max)) {}

  [[nodiscard]] std::string_view name() const override { return platform().name; }
  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }

  Result<std::unique_ptr<Vm>> create_vm(const VmConfig& config) override {
    if (config.vcpus == 0 || config.vcpus > capabilities_.vcpus_max) {
      return Error{Errc::kInvalidArgument, 0,
                   std::string(name()) + ": a VM with " + std::to_string(config.vcpus) +
                       " vCPUs: between 1 and " + std::to_string(capabilities_.vcpus_max) +
                       " are possible (the design's limit is " + std::to_string(kVcpusMax) +
                       ", this host's is " + std::to_string(capabilities_.host_vcpus_max) + ")"};
    }
    if (config.dirty_ring_entries != 0) {
      return Error{Errc::kNotSupported, 0,
                   std::string(name()) +
                       ": Hypervisor.framework keeps no dirty rings; use "
                       "--tracker protection"};
    }
    return HvfVm::create(config, kPageBytes);
  }

 private:
  const Capabilities capabilities_;
};

}  // namespace

Result<std::unique_ptr<HypervisorBackend>> make_backend() {
  STASIS_TRY(check_platform());
  std::uint32_t host_vcpus_max = 0;
  STASIS_TRY(framework_result(hv_vm_get_max_vcpu_count(&host_vcpus_max),
                              "ask for the largest number of vCPUs"));
  return std::unique_ptr<HypervisorBackend>(std::make_unique<HvfBackend>(host_vcpus_max));
}

}  // namespace stasis::hvf
