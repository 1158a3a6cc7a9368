// What a user of the simulation can ask beyond the framework's interface.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"

namespace stasis::hvf::sim {

// The next hv_vm_create() of this process may make a machine for so many vCPUs at most, which is
// faster. Without it, for as many as there can be.
void expect_vcpus(std::uint32_t vcpus);

// Whether a VM can be made here: kNotSupported with reason and cure if not.
Result<void> check_engine_available();

// Why the last call that answered HV_ERROR or HV_NO_RESOURCES did; empty if none did. Any thread.
std::string last_failure();

// Of the process behind the VM; nothing without one. For tests of what happens when it dies.
std::optional<int> qemu_process_id();

}  // namespace stasis::hvf::sim
