#include "hvf/sim/monitor_image.h"

#ifdef STASIS_SIM_MONITOR

// STASIS_SIM_MONITOR is the file's name as a string literal.
asm(".pushsection .rodata.stasis_sim_monitor, \"a\"\n"
    ".globl kStasisSimMonitorBegin\n"
    ".globl kStasisSimMonitorEnd\n"
    "kStasisSimMonitorBegin:\n"
    ".incbin \"" STASIS_SIM_MONITOR
    "\"\n"
    "kStasisSimMonitorEnd:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const std::byte kStasisSimMonitorBegin;
extern const std::byte kStasisSimMonitorEnd;
}

namespace stasis::hvf::sim {

std::span<const std::byte> monitor_image() {
  return {&kStasisSimMonitorBegin, &kStasisSimMonitorEnd};
}

}  // namespace stasis::hvf::sim

#else

namespace stasis::hvf::sim {

std::span<const std::byte> monitor_image() {
  return {};
}

}  // namespace stasis::hvf::sim

#endif
