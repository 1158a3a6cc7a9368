// The one function of macOS's object runtime that users of Hypervisor.framework need.
#pragma once

extern "C" {

// Gives back a configuration or state object of the framework. Not nullptr, not twice.
void os_release(void* object);

}  // extern "C"
