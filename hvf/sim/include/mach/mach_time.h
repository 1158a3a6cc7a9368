// The one function of macOS's Mach interface that users of Hypervisor.framework need.
#pragma once

#include <cstdint>

extern "C" {

// The counter that guests see less their timer's offset, 24 MHz. Here it is the simulated machine's
// while there is a VM and begins anew with each; without one it is derived from the host's clock.
std::uint64_t mach_absolute_time();

}  // extern "C"
