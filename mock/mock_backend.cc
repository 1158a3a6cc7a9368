#include "mock/mock_backend.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "mock/mock_vm.h"

namespace stasis::mock {
namespace {

Capabilities capabilities_of(const MockOptions& options) {
  Capabilities capabilities;
  capabilities.kind = BackendKind::kMock;
  capabilities.architecture = Architecture::kToy;
  capabilities.host_vcpus_max = options.host_vcpus_max;
  capabilities.vcpus_max = std::min(kVcpusMax, options.host_vcpus_max);
  capabilities.page_size_bytes = options.page_size_bytes;
  capabilities.vms_per_process = options.vms_per_process;
  capabilities.dirty_page_tracking = true;
  capabilities.write_protection = true;
  capabilities.postcopy_restore = true;
  capabilities.instruction_budget = true;
  capabilities.clock_policy = ClockPolicy::kInstructions;
  for (const std::string_view name :
       {"dirty_log", "write_protection", "missing_page_exits", "instruction_budget"}) {
    capabilities.notes.push_back({std::string(name), true, "", ""});
  }
  capabilities.notes.push_back(
      {"port_io", false, "the toy CPU has no port instructions", "use an MMIO device"});
  return capabilities;
}

class MockBackend final : public HypervisorBackend {
 public:
  explicit MockBackend(const MockOptions& options)
      : options_(options), capabilities_(capabilities_of(options)) {}

  [[nodiscard]] std::string_view name() const override { return "mock"; }
  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
  Result<std::unique_ptr<Vm>> create_vm(const VmConfig& config) override;

 private:
  const MockOptions options_;
  const Capabilities capabilities_;
  std::atomic<std::uint32_t> living_vms_ = 0;  // Relaxed: only the number counts.
};

Result<std::unique_ptr<Vm>> MockBackend::create_vm(const VmConfig& config) {
  if (config.dirty_ring_entries != 0) {
    return Error{Errc::kNotSupported, 0, "mock: its vCPUs keep no rings of dirty pages"};
  }
  if (config.vcpus == 0 || config.vcpus > capabilities_.vcpus_max) {
    return Error{Errc::kInvalidArgument, 0,
                 "mock: a VM with " + std::to_string(config.vcpus) + " vCPUs: between 1 and " +
                     std::to_string(capabilities_.vcpus_max) +
                     " are possible (the design's limit is " + std::to_string(kVcpusMax) +
                     ", this host's is " + std::to_string(capabilities_.host_vcpus_max) + ")"};
  }
  STASIS_TRY(refuse_interrupt_controller(config, "mock"));
  const std::uint32_t before = living_vms_.fetch_add(1, std::memory_order_relaxed);
  if (options_.vms_per_process != 0 && before >= options_.vms_per_process) {
    living_vms_.fetch_sub(1, std::memory_order_relaxed);
    return Error{Errc::kBackend, 0,
                 "mock: this process has " + std::to_string(before) +
                     " VM already and may have only " + std::to_string(options_.vms_per_process) +
                     " at a time; destroy it first"};
  }
  return std::unique_ptr<Vm>(std::make_unique<MockVm>(options_, config.vcpus, living_vms_));
}

}  // namespace

Result<std::unique_ptr<HypervisorBackend>> make_mock_backend(const MockOptions& options) {
  if (options.page_size_bytes != 4096 && options.page_size_bytes != 16384) {
    return Error{Errc::kInvalidArgument, 0,
                 "mock: a page size of " + std::to_string(options.page_size_bytes) +
                     " bytes; choose 4096 or 16384"};
  }
  if (options.host_vcpus_max == 0) {
    return Error{Errc::kInvalidArgument, 0, "mock: a host without vCPUs"};
  }
  return std::unique_ptr<HypervisorBackend>(std::make_unique<MockBackend>(options));
}

}  // namespace stasis::mock
