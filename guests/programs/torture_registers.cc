#include "guests/programs/torture_registers.h"

#include "guests/runtime/hash.h"

#if !defined(__x86_64__)
#error "torture knows x86-64 registers only."
#endif

// System V ABI: rdi = in, rsi = out. All vector, x87 and mask registers are the caller's to save.
// `OUT DX, EAX` uses only the low halves of RDX and RAX, so even these two carry patterns.
asm(R"(
.text
.globl torture_ring
.type torture_ring, @function
torture_ring:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  push %rsi
  push 272(%rdi)            # vector_level
  mov 272(%rdi), %rax
  cmp $2, %rax
  je 2f
  cmp $1, %rax
  je 1f
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  movups 320+64*\n(%rdi), %xmm\n
.endr
  jmp 3f
1:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  vmovups 320+64*\n(%rdi), %ymm\n
.endr
  jmp 3f
2:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  vmovups 320+64*\n(%rdi), %zmm\n
.endr
.irp n,0,1,2,3,4,5,6,7
  kmovw 208+8*\n(%rdi), %k\n
.endr
3:
  fninit
.irp n,7,6,5,4,3,2,1,0
  fldl 144+8*\n(%rdi)
.endr
  fldcw 140(%rdi)
  ldmxcsr 136(%rdi)
  push 128(%rdi)
  popfq
  mov 0(%rdi), %rax
  mov 8(%rdi), %rcx
  mov 16(%rdi), %rdx
  mov 24(%rdi), %rbx
  mov 40(%rdi), %rbp
  mov 48(%rdi), %rsi
.irp n,8,9,10,11,12,13,14,15
  mov 8*\n(%rdi), %r\n
.endr
  mov 56(%rdi), %rdi
  out %eax, %dx
  pushfq
  push %rdi
  mov 24(%rsp), %rdi        # out
  mov %rax, 0(%rdi)
  mov %rcx, 8(%rdi)
  mov %rdx, 16(%rdi)
  mov %rbx, 24(%rdi)
  mov %rbp, 40(%rdi)
  mov %rsi, 48(%rdi)
.irp n,8,9,10,11,12,13,14,15
  mov %r\n, 8*\n(%rdi)
.endr
  pop 56(%rdi)
  pop 128(%rdi)
  cld
  stmxcsr 136(%rdi)
  fnstcw 140(%rdi)
.irp n,0,1,2,3,4,5,6,7
  fstpl 144+8*\n(%rdi)
.endr
  fninit
  movl $0x1f80, -8(%rsp)
  ldmxcsr -8(%rsp)
  pop %rax                  # vector_level
  mov %rax, 272(%rdi)
  cmp $2, %rax
  je 2f
  cmp $1, %rax
  je 1f
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  movups %xmm\n, 320+64*\n(%rdi)
.endr
  jmp 3f
1:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  vmovups %ymm\n, 320+64*\n(%rdi)
.endr
  vzeroupper
  jmp 3f
2:
.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  vmovups %zmm\n, 320+64*\n(%rdi)
.endr
.irp n,0,1,2,3,4,5,6,7
  kmovw %k\n, 208+8*\n(%rdi)
.endr
  vzeroupper
3:
  pop %rsi
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.size torture_ring, . - torture_ring
)");

namespace stasis::guest::torture {
namespace {

constexpr std::uint64_t kFlagsMask = 0xCD5;  // CF PF AF ZF SF DF OF.
constexpr std::uint64_t kFlagsFixed = 0x202;

constexpr const char* kGeneralNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

bool differ(std::uint64_t in, std::uint64_t out, Text name, Writer& what) {
  if (in == out) {
    return false;
  }
  what.format("{} was {} and is {}", name, Hex{in}, Hex{out});
  return true;
}

bool differ(std::uint64_t in, std::uint64_t out, Text name, std::uint64_t number, Writer& what) {
  char buffer[32];
  Writer full(buffer, sizeof(buffer));
  full.format("{}{}", name, number);
  return differ(in, out, full.text(), what);
}

std::size_t vector_words(std::uint64_t level) {
  return level == 0 ? 2 : level == 1 ? 4 : 8;
}

}  // namespace

void make_registers(RegisterState& state, std::uint64_t seed, VectorLevel level, abi::Register reg,
                    std::uint32_t value) {
  Random random(seed);
  for (std::uint64_t& general : state.general) {
    general = random.next();
  }
  const std::uint64_t port = abi::kDoorbellPort + abi::register_offset(reg);
  state.general[0] = (state.general[0] << 32) | value;
  state.general[2] = (state.general[2] << 16) | port;
  state.flags = (random.next() & kFlagsMask) | kFlagsFixed;
  // All exceptions masked, any rounding mode, any sticky flags.
  state.mxcsr = 0x1F80 | static_cast<std::uint32_t>(random.below(4) << 13 | random.below(64));
  state.x87_control = 0x037F | static_cast<std::uint32_t>(random.below(4) << 10);
  for (std::uint64_t& number : state.x87) {
    number = 0x3FF0'0000'0000'0000 | random.next() >> 12;  // A double in [1, 2): no traps.
  }
  for (std::uint64_t& mask : state.mask) {
    mask = random.next() & 0xffff;
  }
  state.vector_level = static_cast<std::uint64_t>(level);
  for (auto& vector : state.vector) {
    for (std::uint64_t& word : vector) {
      word = random.next();
    }
  }
}

bool find_difference(const RegisterState& in, const RegisterState& out, Writer& what) {
  for (std::size_t i = 0; i < 16; ++i) {
    if (i != 4 && differ(in.general[i], out.general[i], kGeneralNames[i], what)) {
      return true;
    }
  }
  if (differ(in.flags & kFlagsMask, out.flags & kFlagsMask, "rflags", what) ||
      differ(in.mxcsr, out.mxcsr, "mxcsr", what) ||
      differ(in.x87_control, out.x87_control & 0xffff, "x87 control", what)) {
    return true;
  }
  for (std::size_t i = 0; i < 8; ++i) {
    if (differ(in.x87[i], out.x87[i], "st", i, what)) {
      return true;
    }
  }
  const std::size_t vectors = in.vector_level == 2 ? 32 : 16;
  for (std::size_t i = 0; i < vectors; ++i) {
    for (std::size_t word = 0; word < vector_words(in.vector_level); ++word) {
      if (differ(in.vector[i][word], out.vector[i][word], "vector register ", i, what)) {
        return true;
      }
    }
  }
  for (std::size_t i = 0; i < 8 && in.vector_level == 2; ++i) {
    if (differ(in.mask[i], out.mask[i] & 0xffff, "k", i, what)) {
      return true;
    }
  }
  return false;
}

}  // namespace stasis::guest::torture
