// The backends of this build by name, with the reason for each that this host cannot use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/hypervisor.h"
#include "core/result.h"

namespace stasis::session {

// What a backend may need to be told. Value.
struct BackendOptions {
  std::string kvm_device = "/dev/kvm";        // Another path serves tests and unusual hosts.
  std::uint64_t mock_page_size_bytes = 4096;  // 4096 or 16384.
  bool mock_forbid_second_vm = false;         // One VM a process, as Hypervisor.framework demands.
};

// One backend as `stasis doctor` shows it. Value.
struct BackendInfo {
  Availability availability;     // Name, and why not and how to mend it.
  bool on_request_only = false;  // Never chosen by "auto": the mock.
  std::string summary;           // What it is, in a few words.
};

// Every backend that this source tree knows, in the order of preference; those that this build or
// this host cannot use say why.
std::vector<BackendInfo> list_backends(const BackendOptions& options = {});

// "auto" is the first available backend that is not on_request_only. Errors: kInvalidArgument (no
// such backend; the message lists them), kNotSupported (known, but not usable here; reason and
// cure).
Result<std::unique_ptr<HypervisorBackend>> make_backend(std::string_view name,
                                                        const BackendOptions& options = {});

}  // namespace stasis::session
