// What the simulation on the host and its monitor at EL2 of the machine that QEMU simulates agree
// on: the use of the first megabytes of that machine's RAM, and one mailbox for each processing
// element (PE). Included by both sides, so it needs nothing but a freestanding compiler.
//
// PE 0 serves: it passes the host's wake-ups on and executes what must work while guests run. PE n
// carries the vCPU with handle n - 1.
//
// A mailbox belongs to the host while `request` is kNone and to the PE otherwise. Exceptions:
// `request` itself, `is_asleep`, `cancel` and `lines`, which both sides access atomically.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace stasis::hvf::sim {

inline constexpr uint32_t kGuestPesMax = 8;
inline constexpr uint32_t kPesMax = kGuestPesMax + 1;

// Machine-physical addresses. QEMU puts its device tree at the beginning of RAM unless the loaded
// program leaves no room for it there: the program is in the first megabyte.
inline constexpr uint64_t kRamBase = 0x40000000;  // Of QEMU's machine "virt".
inline constexpr uint64_t kMailboxes = kRamBase + 0x1000;
inline constexpr uint64_t kMailboxStride = 0x1000;
inline constexpr uint64_t kStacks = kRamBase + 0x10000;  // 4 KiB a PE.
inline constexpr uint64_t kStackStride = 0x1000;
inline constexpr uint64_t kProgram = kRamBase + 0x20000;
inline constexpr uint64_t kStage2Root = kRamBase + 0x100000;  // Two level-1 tables, then others.
inline constexpr uint64_t kControlBytes = 0x10000000;         // Guest memory is behind these.

enum class Request : uint32_t { kNone = 0, kRun = 1, kCommand = 2 };

enum class Command : uint32_t {
  kSaveState = 1,    // Live registers into the mailbox.
  kFlushTlbs = 2,    // Of every PE, with stage 2. The service PE's, like the rest.
  kRewrite = 3,      // arguments: address, bytes. Stores every word again, see hvf/sim/README.md.
  kPowerOn = 4,      // arguments[0]: the PE.
  kReadCounter = 5,  // result: CNTPCT_EL0.
};

inline constexpr uint32_t kFlagLoadState = 1;  // The mailbox's registers into the PE first.
inline constexpr uint32_t kFlagFlushTlb = 2;   // The PE's own, with stage 2.
inline constexpr uint32_t kFlagTimerMasked = 4;

enum class Reason : uint32_t {
  kException = 0,   // Of the guest, to EL2.
  kTimer = 1,       // The virtual timer asks for an interrupt.
  kCanceled = 2,    // `cancel` was set; it is clear again.
  kUnexpected = 3,  // FIQ or SError.
  kPanic = 4,       // The monitor itself took an exception: the machine is lost.
};

inline constexpr uint32_t kRegistersMax = 128;

struct Mailbox {
  // The guest's general registers; guest_entry.S knows the offsets of all up to `stub_faults`.
  uint64_t x[31];
  uint64_t pc;
  uint64_t cpsr;
  uint32_t stub_faults;  // Counts accesses to registers that the PE has not.

  uint32_t request;    // A Request.
  uint32_t is_asleep;  // The PE waits for an interrupt: storing `request` is not enough.
  uint32_t cancel;     // The guest has to leave, or not to be entered.

  // From the host.
  uint32_t flags;
  uint32_t command;
  uint32_t spin_ticks;  // Of the counter, before a PE with nothing to do goes to sleep.
  uint32_t reserved;
  uint64_t lines;  // HCR_EL2.VI and VF: the guest's interrupt lines, looked at before each entry.
  uint64_t timer_offset;  // CNTVOFF_EL2.
  uint64_t debug_traps;   // Bits of MDCR_EL2.
  uint64_t arguments[2];

  // From the PE.
  uint64_t result;
  uint64_t reason;  // A Reason; the following with kException and kPanic.
  uint64_t syndrome;
  uint64_t virtual_address;
  uint64_t fault_page;     // As HPFAR_EL2, also where that is UNKNOWN.
  uint64_t timer_control;  // CNTV_CTL_EL0, CNTV_CVAL_EL0 and CNTVCT_EL0 as the guest left, with
  uint64_t timer_compare;  // any reason but kPanic.
  uint64_t timer_count;

  // What kSaveState and kFlagLoadState move.
  uint64_t fpcr;
  uint64_t fpsr;
  uint64_t q[32][2];
  uint64_t system[kRegistersMax];    // By number in registers.h.
  uint8_t is_absent[kRegistersMax];  // Set once, before the PE serves.
};
static_assert(offsetof(Mailbox, pc) == 248 && offsetof(Mailbox, cpsr) == 256);
static_assert(offsetof(Mailbox, stub_faults) == 264);
static_assert(sizeof(Mailbox) <= kMailboxStride);
static_assert(kMailboxes + kPesMax * kMailboxStride <= kStacks);
static_assert(kStacks + kPesMax * kStackStride <= kProgram);

// The byte by which PE n tells the host that `request` is kNone again, on the UART. The host sends
// n to get PE n's attention.
constexpr uint8_t bell_of(uint32_t pe) {
  return static_cast<uint8_t>(0x80U | pe);
}

}  // namespace stasis::hvf::sim
