// The guest ABI: everything a bare guest and the host agree on. docs/guest-abi.md explains it.
//
// This header is compiled into freestanding guests and into the host, on x86-64 and on arm64. It
// holds numbers and plain structures only: little-endian, natural alignment, no padding that is not
// named. Additions raise kVersionMinor; anything that an existing guest could notice raises
// kVersionMajor, and a guest refuses to start under another major version (guests/runtime).
#pragma once

#include <cstddef>
#include <cstdint>

namespace stasis::abi {

inline constexpr std::uint32_t kMagic = 0x53415453;  // "STAS" in memory.
inline constexpr std::uint16_t kVersionMajor = 1;
inline constexpr std::uint16_t kVersionMinor = 0;
inline constexpr std::uint32_t kVersion = (std::uint32_t{kVersionMajor} << 16) | kVersionMinor;

// ---- Limits ----

inline constexpr std::uint32_t kVcpusMax = 32;
inline constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
inline constexpr std::uint32_t kRequestBytesMax = 64 * 1024;
inline constexpr std::uint32_t kResponseBytesMax = 64 * 1024;
inline constexpr std::uint32_t kConsoleBytesMax = 4096;
inline constexpr std::uint32_t kArgumentBytesMax = 2048;  // Including the terminating NUL.
inline constexpr std::uint32_t kRandomBytes = 64;
inline constexpr std::uint32_t kGenerationBytes = 16;

// ---- Guest-physical memory map ----
// Identity-mapped: every address below is physical and virtual at once.

inline constexpr std::uint64_t kBootInfoAddress = 0x1000;    // BootInfo. Guest may only read it.
inline constexpr std::uint64_t kTrapFramesAddress = 0x2000;  // TrapFrame[kVcpusMax], privileged.
inline constexpr std::uint64_t kTrapFrameBytes = 256;
inline constexpr std::uint64_t kMailboxAddress = 0x40000;  // Mailbox, guest reads and writes.
inline constexpr std::uint64_t kSystemEnd = 0x200000;      // Below: mapped in 4 KiB pages.
inline constexpr std::uint64_t kStacksAddress = 0x200000;  // One stack a vCPU, index order.
inline constexpr std::uint64_t kStackBytes = 64 * kKiB;
inline constexpr std::uint64_t kImageAddress = 0x400000;     // Lowest address of a guest's image.
inline constexpr std::uint64_t kLowMemoryEnd = 3 * kGiB;     // RAM below this...
inline constexpr std::uint64_t kHighMemoryBegin = 4 * kGiB;  // ...and from here on; never between.
inline constexpr std::uint64_t kMemoryBytesMin = 8 * kMiB;
inline constexpr std::uint64_t kMemoryBytesMax = 64 * kGiB;
inline constexpr std::uint64_t kMemoryUnitBytes = 2 * kMiB;  // RAM sizes are multiples of this.

// The top of a vCPU's stack: its initial stack pointer.
constexpr std::uint64_t stack_top(std::uint32_t vcpu) {
  return kStacksAddress + (std::uint64_t{vcpu} + 1) * kStackBytes;
}

// ---- Doorbell registers ----
// Register n is a 32-bit little-endian word at offset 4 * n of the window. The window answers at
// kDoorbellMmioAddress on every architecture and at port kDoorbellPort on x86-64 (OUT, IN). A write
// rings; reads have no effect. All other offsets read as all ones; writing to them fails the guest.

inline constexpr std::uint64_t kDoorbellMmioAddress = 0xFE000000;
inline constexpr std::uint16_t kDoorbellPort = 0x5A00;
inline constexpr std::uint32_t kDoorbellWindowBytes = 0x100;

enum class Register : std::uint32_t {
  kAbiMagic = 0,     // Read: kMagic.
  kAbiVersion = 1,   // Read: the host's kVersion.
  kConsole = 2,      // Value n: the first n bytes of Mailbox::console are output.
  kReady = 3,        // Warm; may be saved here. Returns when the owner resumes. Value ignored.
  kWait = 4,         // Returns when a request may have been posted; look at request_seq. Spurious
                     // returns are allowed. Value ignored.
  kRespond = 5,      // Value n: n bytes of Mailbox::response answer the request whose number stands
                     // in response_seq. Then as kWait.
  kExit = 6,         // The guest is finished with this exit code. Never returns.
  kRandom = 7,       // The host fills Mailbox::random. Value ignored.
  kGeneration = 8,   // The host fills Mailbox::generation and restore_count. Value ignored.
  kClock = 9,        // The host fills Mailbox::wall_ns and monotonic_ns. Value ignored.
  kFaultProbe = 10,  // Mailbox::fault_histogram is complete. Value ignored.
  kCheckpoint = 11,  // A point that the guest numbers; returns when the owner resumes.
  kPark = 12,        // This vCPU waits for kWake. Spurious returns are allowed. Value ignored.
  kWake = 13,        // Value v: vCPU v returns from its current or next kPark (or kWait).
  kPanic = 14,       // Value 0: this vCPU's TrapFrame says why. Value n: n bytes of
                     // Mailbox::console do. Never returns.
};

constexpr std::uint32_t register_offset(Register reg) {
  return 4 * static_cast<std::uint32_t>(reg);
}

// ---- Structures in guest memory ----

struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // One past the last byte.
};

// BootInfo::cpu_flags: what the loader has switched on for the guest.
enum CpuFlags : std::uint64_t {
  kCpuAvx = 1,     // YMM state (XCR0 bits 1 and 2), AVX and AVX2 instructions.
  kCpuAvx512 = 2,  // ZMM and mask state, AVX512F instructions.
};

// At kBootInfoAddress; written once by the loader. The entry point receives its address in the
// first argument register and the vCPU's index in the second (x86-64: RDI, RSI; arm64: X0, X1).
struct BootInfo {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t size_bytes = sizeof(BootInfo);  // Newer fields follow at the end.
  std::uint32_t vcpu_count = 1;
  std::uint64_t mailbox = kMailboxAddress;
  std::uint64_t doorbell_mmio = kDoorbellMmioAddress;
  std::uint32_t doorbell_port = kDoorbellPort;  // 0 where there are no ports.
  std::uint32_t memory_range_count = 0;         // 1 or 2.
  AddressRange memory[2] = {};                  // All RAM, ascending.
  AddressRange image = {};                      // The loaded ELF, page-rounded.
  AddressRange heap[2] = {};                    // Free RAM, zero at boot; an empty one is {0, 0}.
  std::uint64_t counter_khz = 0;                // Rate of RDTSC or CNTVCT_EL0; 0: unknown.
  std::uint64_t cpu_flags = 0;                  // CpuFlags.
  std::uint32_t argument_bytes = 0;             // Without the NUL.
  std::uint32_t reserved = 0;
  char arguments[kArgumentBytesMax] = {};  // NUL-terminated.
};
static_assert(sizeof(BootInfo) == 144 + kArgumentBytesMax && sizeof(BootInfo) <= 4096);

// Latencies of the guest's first touches in counter cycles: bucket b counts those in
// [2^b, 2^(b+1)); bucket 0 also counts 0.
struct FaultHistogram {
  std::uint64_t count = 0;
  std::uint64_t total_cycles = 0;
  std::uint64_t max_cycles = 0;
  std::uint64_t buckets[40] = {};
};

// The first page of the mailbox. `[guest]` and `[host]` say who writes a field.
struct MailboxHeader {
  std::uint64_t request_seq = 0;    // [host] Number of the request in Mailbox::request; 1, 2, ...
  std::uint64_t response_seq = 0;   // [guest] Number of the last request answered.
  std::uint32_t request_bytes = 0;  // [host]
  std::uint32_t reserved = 0;
  // [guest] RDTSC or CNTVCT_EL0, stored as the very first act after kReady, kWait, kRespond or
  // kCheckpoint returns: the host's milestone "first instruction".
  std::uint64_t resumed_counter = 0;
  std::uint8_t generation[kGenerationBytes] = {};  // [host] On kGeneration.
  std::uint64_t restore_count = 0;                 // [host] On kGeneration: restores since boot.
  std::int64_t wall_ns = 0;                        // [host] On kClock: since 1970-01-01 UTC.
  std::int64_t monotonic_ns = 0;                   // [host] On kClock: the host's monotonic clock.
  std::uint8_t random[kRandomBytes] = {};          // [host] On kRandom.
  FaultHistogram fault_histogram = {};             // [guest] Before kFaultProbe.
};
static_assert(sizeof(MailboxHeader) <= 4096);

struct Mailbox {
  MailboxHeader header;
  std::uint8_t header_padding[4096 - sizeof(MailboxHeader)] = {};
  std::uint8_t console[kConsoleBytesMax] = {};
  std::uint8_t request[kRequestBytesMax] = {};
  std::uint8_t response[kResponseBytesMax] = {};
};
static_assert(sizeof(Mailbox) == 4096 + kConsoleBytesMax + kRequestBytesMax + kResponseBytesMax);
static_assert(kMailboxAddress + sizeof(Mailbox) <= kSystemEnd);

// What an exception leaves behind before kPanic is rung. One a vCPU, at kTrapFramesAddress +
// vcpu * kTrapFrameBytes. The slot is the vCPU's ring-0 stack, so the fields are in the order in
// which the processor and then the exception stub push them, from the end of the slot downwards.
struct X86TrapFrame {
  std::uint64_t unused[9] = {};
  std::uint64_t cr2 = 0;
  std::uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0, r11 = 0, r10 = 0, r9 = 0, r8 = 0;
  std::uint64_t rbp = 0, rdi = 0, rsi = 0, rdx = 0, rcx = 0, rbx = 0, rax = 0;
  std::uint64_t vector = 0, error_code = 0;
  std::uint64_t rip = 0, cs = 0, rflags = 0, rsp = 0, ss = 0;
};
static_assert(sizeof(X86TrapFrame) == kTrapFrameBytes);

struct Arm64TrapFrame {
  std::uint64_t vector = 0;  // Index of the entry in the vector table, 0 to 15.
  std::uint64_t esr = 0, far = 0, elr = 0, spsr = 0, sp = 0;
};
static_assert(sizeof(Arm64TrapFrame) <= kTrapFrameBytes);

// Offsets are the ABI; the structures only name them.
static_assert(offsetof(BootInfo, memory) == 40 && offsetof(BootInfo, arguments) == 144);
static_assert(offsetof(MailboxHeader, resumed_counter) == 24);
static_assert(offsetof(MailboxHeader, generation) == 32 && offsetof(MailboxHeader, wall_ns) == 56);
static_assert(offsetof(MailboxHeader, random) == 72);
static_assert(offsetof(MailboxHeader, fault_histogram) == 136);
static_assert(offsetof(Mailbox, console) == 4096 && offsetof(Mailbox, request) == 8192);
static_assert(offsetof(Mailbox, response) == 8192 + kRequestBytesMax);

}  // namespace stasis::abi
