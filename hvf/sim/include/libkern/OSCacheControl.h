// The one function of macOS's C library that users of Hypervisor.framework need.
#pragma once

#include <cstddef>

extern "C" {

// After the host has written code into memory that a guest may execute. Without it a guest may go
// on executing what was there before, on a Mac and in the simulation alike.
void sys_icache_invalidate(void* start, std::size_t length);

}  // extern "C"
