#include "guests/linux/signals/signal_frame.h"

#include <errno.h>
#include <signal.h>

#include <array>
#include <cstring>
#include <span>

namespace stasis::linux_guest {
namespace {

// struct sigcontext_64.
struct Registers {
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
  std::uint64_t rflags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t error_code, vector, old_mask, cr2, fpstate;
  std::array<std::uint64_t, 8> reserved;
};
static_assert(sizeof(Registers) == 256);

// struct rt_sigframe with the kernel's struct ucontext.
struct Frame {
  std::uint64_t restorer;
  std::uint64_t uc_flags, uc_link;
  std::uint64_t stack_base;
  std::int32_t stack_flags, unused;
  std::uint64_t stack_size;
  Registers registers;
  std::uint64_t mask;
  std::array<std::byte, 128> info;
};
static_assert(sizeof(Frame) == 440);

// struct _fpx_sw_bytes, in the legacy area's reserved bytes.
struct XsaveNote {
  std::uint32_t magic;
  std::uint32_t extended_size;
  std::uint64_t features;
  std::uint32_t xstate_size;
  std::array<std::uint32_t, 7> padding;
};
static_assert(sizeof(XsaveNote) == 48);

constexpr std::size_t kNoteOffset = 464;
constexpr std::size_t kLegacyBytes = 512;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::uint32_t kMagic1 = 0x46505853;  // FP_XSTATE_MAGIC1
constexpr std::uint32_t kMagic2 = 0x46505845;  // FP_XSTATE_MAGIC2
constexpr std::uint64_t kRedZoneBytes = 128;
constexpr std::uint64_t kUcFlags =
    1 | 2 | 4;  // UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
constexpr std::uint16_t kUserCs = 0x33, kUserSs = 0x2b;
constexpr std::uint64_t kSaOnStack = 0x08000000, kSaRestorer = 0x04000000, kSaNoDefer = 0x40000000;
// What a program may change: CF PF AF ZF SF TF DF OF RF AC, as FIX_EFLAGS of Linux.
constexpr std::uint64_t kUserFlags = 0x50dd5;
constexpr std::size_t kXsaveBytesMax = 16384;

Registers registers_of(const X86GeneralRegisters& from) {
  Registers to{};
  to.r8 = from.r8;
  to.r9 = from.r9;
  to.r10 = from.r10;
  to.r11 = from.r11;
  to.r12 = from.r12;
  to.r13 = from.r13;
  to.r14 = from.r14;
  to.r15 = from.r15;
  to.rdi = from.rdi;
  to.rsi = from.rsi;
  to.rbp = from.rbp;
  to.rbx = from.rbx;
  to.rdx = from.rdx;
  to.rax = from.rax;
  to.rcx = from.rcx;
  to.rsp = from.rsp;
  to.rip = from.rip;
  to.rflags = from.rflags;
  to.cs = kUserCs;
  to.ss = kUserSs;
  return to;
}

X86GeneralRegisters general_of(const Registers& from, std::uint64_t old_rflags) {
  X86GeneralRegisters to;
  to.r8 = from.r8;
  to.r9 = from.r9;
  to.r10 = from.r10;
  to.r11 = from.r11;
  to.r12 = from.r12;
  to.r13 = from.r13;
  to.r14 = from.r14;
  to.r15 = from.r15;
  to.rdi = from.rdi;
  to.rsi = from.rsi;
  to.rbp = from.rbp;
  to.rbx = from.rbx;
  to.rdx = from.rdx;
  to.rax = from.rax;
  to.rcx = from.rcx;
  to.rsp = from.rsp;
  to.rip = from.rip;
  to.rflags = (old_rflags & ~kUserFlags) | (from.rflags & kUserFlags);
  return to;
}

std::array<std::byte, 128> info_bytes(const SignalInfo& info) {
  std::array<std::byte, 128> bytes{};
  std::memcpy(bytes.data(), &info.signal, 4);
  std::memcpy(&bytes[8], &info.code, 4);
  if (info.is_fault) {
    std::memcpy(&bytes[16], &info.address, 8);
  } else {
    std::memcpy(&bytes[16], &info.process, 4);
    std::memcpy(&bytes[20], &info.user, 4);
    std::memcpy(&bytes[24], &info.value, 8);
  }
  return bytes;
}

// The image with the note that tells user space of its extended part, and the mark behind it.
std::vector<std::byte> with_note(std::vector<std::byte> xsave) {
  XsaveNote note{};
  std::uint64_t features = 0;
  std::memcpy(&features, &xsave[kLegacyBytes], sizeof features);  // XSTATE_BV
  note.magic = kMagic1;
  note.extended_size = static_cast<std::uint32_t>(xsave.size() + sizeof kMagic2);
  note.features = features | 3U;  // x87 and SSE are always there.
  note.xstate_size = static_cast<std::uint32_t>(xsave.size());
  std::memcpy(&xsave[kNoteOffset], &note, sizeof note);
  const auto mark = std::as_bytes(std::span(&kMagic2, 1));
  xsave.insert(xsave.end(), mark.begin(), mark.end());
  return xsave;
}

// The image that the frame has; empty: it is not one.
std::vector<std::byte> read_xsave(const UserAccess& user, UserAddress from, std::size_t size) {
  std::vector<std::byte> image(kLegacyBytes);
  if (user.get_bytes(from, image) != 0) {
    return {};
  }
  XsaveNote note{};
  std::memcpy(&note, &image[kNoteOffset], sizeof note);
  std::memset(&image[kNoteOffset], 0, sizeof note);
  const bool is_extended = note.magic == kMagic1 && note.xstate_size == size &&
                           note.extended_size == size + sizeof kMagic2;
  image.resize(size);
  if (!is_extended) {
    constexpr std::uint64_t kLegacyFeatures = 3;
    std::memcpy(&image[kLegacyBytes], &kLegacyFeatures, sizeof kLegacyFeatures);
    return image;
  }
  const auto rest = std::span(image).subspan(kLegacyBytes);
  const auto mark = user.get<std::uint32_t>(from + size);
  if (!mark || *mark != kMagic2 || user.get_bytes(from + kLegacyBytes, rest) != 0) {
    return {};
  }
  return image;
}

}  // namespace

std::vector<std::byte> initial_xsave(std::size_t size_bytes) {
  std::vector<std::byte> image(std::max(size_bytes, kLegacyBytes + kHeaderBytes));
  constexpr std::uint16_t kControl = 0x37f;  // SDM vol. 1, 8.1.5: after FNINIT.
  constexpr std::uint32_t kMxcsr = 0x1f80;   // SDM vol. 1, 10.2.3: after reset.
  std::memcpy(image.data(), &kControl, sizeof kControl);
  std::memcpy(&image[24], &kMxcsr, sizeof kMxcsr);
  return image;
}

SysResult put_signal_info(const UserAccess& user, UserAddress to, const SignalInfo& info) {
  return user.put(to, info_bytes(info));
}

bool is_on_alternate_stack(const AlternateStack& stack, std::uint64_t rsp) {
  return (stack.flags & SS_DISABLE) == 0 && rsp > stack.base.value &&
         rsp - stack.base.value <= stack.size_bytes;
}

bool push_signal_frame(TrapCpu& cpu, Thread& thread, const UserAccess& user, const SignalInfo& info,
                       const SignalAction& action) {
  X86GeneralRegisters& general = cpu.general();
  if ((action.flags & kSaRestorer) == 0 || action.handler >= kUserSpaceEnd) {
    return false;
  }
  const AlternateStack& stack = thread.alternate_stack;
  const bool is_on_it = is_on_alternate_stack(stack, general.rsp);
  std::uint64_t top = general.rsp - kRedZoneBytes;
  if ((action.flags & kSaOnStack) != 0 && !is_on_it && (stack.flags & SS_DISABLE) == 0) {
    top = stack.base.value + stack.size_bytes;
  }
  std::vector<std::byte> xsave = cpu.extended();
  if (xsave.size() < kLegacyBytes + kHeaderBytes) {
    xsave = initial_xsave(0);
  }
  const std::size_t xsave_bytes = xsave.size();
  const std::vector<std::byte> fpstate = with_note(std::move(xsave));
  const std::uint64_t fpstate_at = (top - fpstate.size()) & ~std::uint64_t{63};
  // As if called: the stack pointer is 8 below a multiple of 16 (System V ABI 3.2.2).
  const std::uint64_t frame_at = ((fpstate_at - sizeof(Frame)) & ~std::uint64_t{15}) - 8;
  if (top >= kUserSpaceEnd || frame_at >= top) {
    return false;
  }
  Frame frame{};
  frame.restorer = action.restorer;
  frame.uc_flags = kUcFlags;
  frame.stack_base = stack.base.value;
  frame.stack_flags = is_on_it ? SS_ONSTACK : stack.flags;
  frame.stack_size = stack.size_bytes;
  frame.registers = registers_of(general);
  frame.registers.error_code = info.error_code;
  frame.registers.vector = info.vector;
  frame.registers.cr2 = info.is_fault ? info.address : 0;
  frame.registers.fpstate = fpstate_at;
  frame.mask = thread.mask_to_restore.value_or(thread.blocked).bits;
  frame.info = info_bytes(info);
  if (user.put_bytes(UserAddress{fpstate_at}, fpstate) != 0 ||
      user.put(UserAddress{frame_at}, frame) != 0) {
    return false;
  }
  thread.mask_to_restore.reset();
  thread.blocked.bits |= action.mask;
  if ((action.flags & kSaNoDefer) == 0) {
    thread.blocked.add(info.signal);
  }
  general.rax = 0;
  general.rdi = static_cast<std::uint64_t>(info.signal);
  general.rsi = frame_at + offsetof(Frame, info);
  general.rdx = frame_at + offsetof(Frame, uc_flags);
  general.rip = action.handler;
  general.rsp = frame_at;
  general.rflags &= ~std::uint64_t{0x10500};  // TF, DF and RF are clear in a handler.
  return cpu.set_extended(initial_xsave(xsave_bytes));
}

bool restore_signal_frame(TrapCpu& cpu, Thread& thread, const UserAccess& user) {
  X86GeneralRegisters& general = cpu.general();
  // The handler's return has popped the restorer's address.
  const auto frame = user.get<Frame>(UserAddress{general.rsp - 8});
  if (!frame || frame->registers.rip >= kUserSpaceEnd || frame->registers.rsp > kUserSpaceEnd) {
    return false;
  }
  const std::size_t size = std::max(cpu.extended().size(), kLegacyBytes + kHeaderBytes);
  std::vector<std::byte> image = initial_xsave(size);
  if (frame->registers.fpstate != 0 && size <= kXsaveBytesMax) {
    image = read_xsave(user, UserAddress{frame->registers.fpstate}, size);
  }
  if (image.empty() || !cpu.set_extended(image)) {
    return false;
  }
  general = general_of(frame->registers, general.rflags);
  thread.blocked = SignalSet{frame->mask};
  thread.blocked.remove(SIGKILL);
  thread.blocked.remove(SIGSTOP);
  if ((frame->stack_flags & ~(SS_DISABLE | SS_ONSTACK)) == 0) {
    thread.alternate_stack = {UserAddress{frame->stack_base}, frame->stack_size,
                              frame->stack_flags & SS_DISABLE};
  }
  return true;
}

}  // namespace stasis::linux_guest
