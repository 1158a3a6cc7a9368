// The mode in which the bare KVM floors run their few instructions. For x86-64 with KVM alone.
#pragma once

#include <cstdint>

#include "kvm/kvm_uapi.h"

namespace stasis::experiments {

// 64-bit mode in ring 3 (Intel SDM vol. 3, 10.8.5 and 3.4.5; AMD APM vol. 2, 14.6). Ring 3, because
// some KVM implementations run only that natively. `page_tables` is the guest-physical address of
// the top one.
inline void set_long_mode(kvm_sregs& sregs, std::uint64_t page_tables) {
  constexpr std::uint64_t kCr0 = 0x80000033;  // PE, MP, ET, NE, PG.
  constexpr std::uint64_t kCr4 = 0x620;       // PAE, OSFXSR, OSXMMEXCPT.
  constexpr std::uint64_t kEfer = 0x500;      // LME, LMA.
  sregs.cr0 = kCr0;
  sregs.cr3 = page_tables;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  kvm_segment code{};
  code.limit = 0xFFFFFFFF;
  code.selector = 0x33;
  code.type = 11;  // Execute, read, accessed.
  code.present = 1;
  code.dpl = 3;
  code.s = 1;
  code.l = 1;
  code.g = 1;
  kvm_segment data = code;
  data.selector = 0x2B;
  data.type = 3;  // Read, write, accessed.
  data.l = 0;
  data.db = 1;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
}

}  // namespace stasis::experiments
