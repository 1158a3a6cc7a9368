// The mock backend: VMs with toy CPUs, in this process, on every host.
//
// It obeys the strictest rules of all backends and says so when they are broken, so that code which
// passes on the mock is not refused elsewhere: each vCPU on its own thread, one VM a process when
// asked, no permission taken away while a vCPU runs, no state saved with an unanswered read.
#pragma once

#include <cstdint>
#include <memory>

#include "core/hypervisor.h"

namespace stasis::mock {

struct MockOptions {
  std::uint64_t page_size_bytes = 4096;      // 4096 or 16384.
  std::uint32_t vms_per_process = 0;         // At a time, of this backend object; 0: no limit.
  std::uint32_t host_vcpus_max = kVcpusMax;  // Pretends to be a host with this limit.
};

// kInvalidArgument for another page size or no vCPUs. The backend outlives its VMs.
Result<std::unique_ptr<HypervisorBackend>> make_mock_backend(const MockOptions& options);

}  // namespace stasis::mock
