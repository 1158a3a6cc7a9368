// What differs between Apple's framework on a Mac and our simulation of it on Linux, beyond the
// framework's own interface. Two implementations, one of which is linked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/capabilities.h"
#include "core/result.h"

namespace stasis::hvf {

struct Platform {
  BackendKind kind = BackendKind::kHvf;
  std::string_view name;  // As on the command line.
};
Platform platform();

// Whether a VM can be made here. kNotSupported, "reason: cure", if not. Cheap, any thread.
Result<void> check_platform();

// Before the VM is created: it will have at most so many vCPUs.
void announce_vcpus(std::uint32_t vcpus);

// What is known of the framework's last failure beyond its code; often nothing. Any thread.
std::string failure_detail();

}  // namespace stasis::hvf
