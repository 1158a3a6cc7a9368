// The register file of a vCPU of Hypervisor.framework.
#pragma once

#include <cstdint>
#include <memory>

#include "hvf/register_file.h"

namespace stasis::hvf {

enum class GicPresence : std::uint8_t { kAbsent, kPresent };

// `vcpu` is an hv_vcpu_t of the calling thread, which alone uses what is returned, and must outlive
// it.
std::unique_ptr<RegisterFile> make_framework_registers(std::uint64_t vcpu, GicPresence gic);

}  // namespace stasis::hvf
