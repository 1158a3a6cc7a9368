#include "hvf/sim/monitor_image.h"

#ifdef STASIS_SIM_MONITOR

// STASIS_SIM_MONITOR is the file's name as a string literal.
asm(".pushsection .rodata.stasis_sim_monitor, \"a\"\n"
    ".globl stasis_sim_monitor_begin\n"
    ".globl stasis_sim_monitor_end\n"
    "stasis_sim_monitor_begin:\n"
    ".incbin \"" STASIS_SIM_MONITOR
    "\"\n"
    "stasis_sim_monitor_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const std::byte stasis_sim_monitor_begin;
extern const std::byte stasis_sim_monitor_end;
}

namespace stasis::hvf::sim {

std::span<const std::byte> monitor_image() {
  return {&stasis_sim_monitor_begin, &stasis_sim_monitor_end};
}

}  // namespace stasis::hvf::sim

#else

namespace stasis::hvf::sim {

std::span<const std::byte> monitor_image() {
  return {};
}

}  // namespace stasis::hvf::sim

#endif
