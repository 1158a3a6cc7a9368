// faulty: does the one wrong thing that its arguments name.
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;
namespace abi = stasis::abi;

namespace {

void store_to(std::uint64_t address) {
  asm volatile("movl $1, (%0)" : : "r"(address) : "memory");
}

void do_wrong(guest::Text what) {
  if (what == "divide") {
    asm volatile("xor %%ecx, %%ecx\n\tdivl %%ecx" : : "a"(1), "d"(0) : "ecx", "cc");
  } else if (what == "null") {
    store_to(8);
  } else if (what == "boot-info") {
    store_to(abi::kBootInfoAddress);
  } else if (what == "page-tables") {
    store_to(0x100000);
  } else if (what == "beyond-ram") {
    store_to(guest::boot_info().memory[0].end);
  } else if (what == "stack-overflow") {
    // vCPU 0's stack is the lowest: below it is unmapped memory.
    for (std::uint64_t at = abi::kStacksAddress; at > 0; at -= 4096) {
      store_to(at - 4);
    }
  } else if (what == "invalid-opcode") {
    asm volatile("ud2");
  } else if (what == "breakpoint") {
    asm volatile("int3");
  } else if (what == "halt") {
    asm volatile("hlt");
  } else if (what == "port") {
    asm volatile("outb %b0, %w1" : : "a"(0), "d"(0x80));
  } else if (what == "next-port") {
    asm volatile("outb %b0, %w1" : : "a"(0), "d"(abi::kDoorbellPort + abi::kDoorbellWindowBytes));
  } else if (what == "simd") {
    const std::uint32_t unmasked = 0x1F80 & ~0x200U;  // Division by zero.
    asm volatile("ldmxcsr %0" : : "m"(unmasked));
    volatile double zero = 0;
    volatile double result = 1 / zero;
    static_cast<void>(result);
  } else if (what == "panic") {
    guest::panic("the answer is {}", 42);
  } else if (what == "memory") {
    guest::allocate(1ULL << 40);
  } else if (what == "register") {
    guest::ring(static_cast<abi::Register>(15), 0);
  } else if (what == "console") {
    guest::ring(abi::Register::kConsole, 100'000);
  } else if (what == "respond") {
    guest::ring(abi::Register::kRespond, 1);
  } else if (what == "exit") {
    guest::exit(77);
  } else if (what == "loop") {
    guest::ready();
    for (;;) {
      guest::relax();
    }
  } else if (what == "doorbells") {
    // Every doorbell by MMIO instead of ports.
    const auto mmio = [](abi::Register reg, std::uint32_t value) {
      *reinterpret_cast<volatile std::uint32_t*>(abi::kDoorbellMmioAddress +
                                                 abi::register_offset(reg)) = value;
    };
    const auto magic = *reinterpret_cast<volatile std::uint32_t*>(abi::kDoorbellMmioAddress);
    guest::mailbox().console[0] = magic == abi::kMagic ? 'Y' : 'N';
    mmio(abi::Register::kConsole, 1);
    mmio(abi::Register::kCheckpoint, 5);
    mmio(abi::Register::kExit, 6);
  }
}

}  // namespace

void guest_main(std::uint32_t vcpu) {
  // On the second vCPU where there is one, so that its trap frame is the one reported.
  if (vcpu + 1 < guest::boot_info().vcpu_count) {
    guest::start_other_vcpus();
    for (;;) {
      guest::park();
    }
  }
  do_wrong(guest::arguments());
  guest::panic("nothing went wrong");
}
