#include "guests/linux/vm/vdso_image.h"

#if defined(STASIS_VDSO_FILE)
__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    ".hidden stasis_vdso_begin\n"
    ".hidden stasis_vdso_end\n"
    ".globl stasis_vdso_begin\n"
    ".globl stasis_vdso_end\n"
    "stasis_vdso_begin:\n"
    ".incbin \"" STASIS_VDSO_FILE
    "\"\n"
    "stasis_vdso_end:\n"
    ".popsection\n");

extern "C" {
extern const std::byte stasis_vdso_begin[];  // NOLINT: a name of the assembly above
extern const std::byte stasis_vdso_end[];    // NOLINT
}
#endif

namespace stasis::linux_guest::vm {

std::span<const std::byte> vdso_image() {
#if defined(STASIS_VDSO_FILE)
  return {stasis_vdso_begin, stasis_vdso_end};
#else
  return {};
#endif
}

}  // namespace stasis::linux_guest::vm
