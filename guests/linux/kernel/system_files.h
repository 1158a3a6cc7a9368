// What the process finds below /dev, /proc, /sys and /etc.
#pragma once

#include "guests/linux/kernel/process.h"

namespace stasis::linux_guest {

void add_device_files(Process& process);
void add_proc_files(Process& process);  // Of the machine: cpuinfo, meminfo, /proc/sys, /sys.
void add_self_files(Process& process);  // Of the process: maps, status, fd/, task/.
void add_etc_files(Process& process);   // Unless the allow-list has them.

}  // namespace stasis::linux_guest
