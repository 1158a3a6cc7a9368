// The hypervisor of the machine that QEMU simulates: enters guests at EL1 for the host and tells it
// why they came back. Freestanding, for AArch64, one instance of monitor_main() on each PE.
//
// EL2 has no translation of its own, so all addresses are machine-physical. Interrupts stay masked
// at EL2: they are looked for where the PE has nothing to do, or take it out of a guest.
// Section numbers: Arm ARM DDI 0487 (D, E for the timer), GIC: IHI 0069.
#include "hvf/sim/monitor/hardware.h"
#include "hvf/sim/monitor/mailbox.h"
#include "hvf/sim/monitor/registers.h"

using stasis::hvf::sim::bell_of;
using stasis::hvf::sim::Command;
using stasis::hvf::sim::kFlagFlushTlb;
using stasis::hvf::sim::kFlagLoadState;
using stasis::hvf::sim::kFlagTimerMasked;
using stasis::hvf::sim::kStage2Root;
using stasis::hvf::sim::Mailbox;
using stasis::hvf::sim::Reason;
using stasis::hvf::sim::Request;
using namespace stasis::hvf::sim::monitor;

extern "C" {
extern uint32_t register_stubs[];
uint64_t enter_guest(Mailbox* own);
void save_vectors(uint64_t (*q)[2]);
void load_vectors(const uint64_t (*q)[2]);
void secondary_start();
[[noreturn]] void monitor_main(Mailbox* own, uint64_t pe);
[[noreturn]] void monitor_panic(Mailbox* own);
}

namespace {

#define STASIS_COUNT(encoding) +1
constexpr uint64_t kStateRegisters = 0 STASIS_SIM_STATE_REGISTERS(STASIS_COUNT);
constexpr uint64_t kRegisters = kStateRegisters STASIS_SIM_IDENTITY_REGISTERS(STASIS_COUNT);
static_assert(kRegisters <= stasis::hvf::sim::kRegistersMax);

// See STUB in guest_entry.S.
uint64_t read_register(uint64_t number) {
  return reinterpret_cast<uint64_t (*)()>(register_stubs + 4 * number)();
}
void write_register(uint64_t number, uint64_t value) {
  reinterpret_cast<void (*)(uint64_t)>(register_stubs + 4 * number + 2)(value);
}

void find_absent_registers(Mailbox& own) {
  for (uint64_t i = 0; i < kRegisters; ++i) {
    const uint32_t before = load(own.stub_faults);
    own.system[i] = read_register(i);
    own.is_absent[i] = load(own.stub_faults) != before ? 1 : 0;
  }
}

void save_state(Mailbox& own) {
  for (uint64_t i = 0; i < kRegisters; ++i) {
    if (own.is_absent[i] == 0) {
      own.system[i] = read_register(i);
    }
  }
  save_vectors(own.q);
  own.fpcr = read_fpcr();
  own.fpsr = read_fpsr();
}

// Only what differs: QEMU forgets all translations on many of these writes.
void load_state(const Mailbox& own) {
  for (uint64_t i = 0; i < kStateRegisters; ++i) {
    if (own.is_absent[i] == 0 && read_register(i) != own.system[i]) {
      write_register(i, own.system[i]);
    }
  }
  load_vectors(own.q);
  write_fpcr(own.fpcr);
  write_fpsr(own.fpsr);
  isb();
}

void set_up_el2() {
  // Guests are AArch64; stage 2 is on; WFI, SMC and reads of identity registers come here, and so
  // do physical interrupts; pointer authentication does not. WFE, as under the framework, neither.
  write_hcr_el2(kHcrAlways);
  // 4 KiB granule, 40 bits of guest-physical address from level 1 with two tables side by side.
  write_vtcr_el2(UINT64_C(1) << 31 | UINT64_C(2) << 16 | UINT64_C(3) << 12 | UINT64_C(1) << 10 |
                 UINT64_C(1) << 8 | UINT64_C(1) << 6 | 24);
  write_vttbr_el2(kStage2Root);
  write_cptr_el2(0x33ff);  // SVE and SME trap, floating point does not.
  write_cnthctl_el2(0);    // The physical timer and counter trap, as without the framework's GIC.
  write_cntvoff_el2(0);
  isb();
}

void set_up_interrupts(uint64_t pe) {
  write_icc_sre_el2(7);  // System registers here, and not for the guest:
  isb();
  write_ich_hcr_el2(UINT64_C(1) << 12 | UINT64_C(1) << 11 | UINT64_C(1) << 10);
  if (pe == 0) {
    write32(kGicd, 0x13);                             // GICD_CTLR: affinity routing, both groups.
    write32(kGicd + 0x84, 1U << (kUartIntid - 32));   // GICD_IGROUPR1
    write32(kGicd + 0x104, 1U << (kUartIntid - 32));  // GICD_ISENABLER1
  }
  const uint64_t redistributor = redistributor_of(pe);
  write32(redistributor + 0x14, 0);                    // GICR_WAKER
  write32(redistributor + 0x10080, UINT32_MAX);        // GICR_IGROUPR0
  write32(redistributor + 0x10100, 1U << kWakeIntid);  // GICR_ISENABLER0
  write_icc_pmr_el1(0xff);
  write_icc_igrpen1_el1(1);
  isb();
}

void set_up_uart() {
  write32(kUart + 0x2c, 0x70);   // UARTLCR_H: 8 bits, FIFOs.
  write32(kUart + 0x38, 0x50);   // UARTIMSC: receive and receive timeout.
  write32(kUart + 0x30, 0x301);  // UARTCR: on, both directions.
}

void set_timer_interrupt(uint64_t pe, bool on) {
  write32(redistributor_of(pe) + (on ? 0x10100 : 0x10180), 1U << kTimerIntid);
  dsb();
}

// Passes the host's bytes on, each to the PE that it names. The receive interrupt comes when the
// FIFO stops being empty: it is cleared first, so that no byte is left behind.
void forward_wake_ups() {
  write32(kUart + 0x44, 0x7ff);  // UARTICR
  while ((read32(kUart + 0x18) & 0x10) == 0) {
    const uint64_t pe = read32(kUart) & 0xff;
    if (pe != 0) {  // PE 0 itself need only be awake.
      write_icc_sgi1r_el1(kWakeIntid << 24 | UINT64_C(1) << pe);
    }
  }
}

// Acknowledges all that is pending. Whether the virtual timer was among it, which is then off.
bool take_interrupts(uint64_t pe) {
  bool timer = false;
  while (true) {
    const uint64_t intid = read_icc_iar1_el1();
    if (intid >= 1020) {
      return timer;
    }
    if (intid == kTimerIntid) {
      timer = true;
      set_timer_interrupt(pe, false);
    } else if (intid == kUartIntid) {
      forward_wake_ups();
    }
    write_icc_eoir1_el1(intid);
  }
}

// Of a stage-2 permission fault HPFAR_EL2 is UNKNOWN unless a table walk met it ("HPFAR_EL2"):
// translate the virtual address. Where that fails (another vCPU has just changed the tables, or the
// page is for execution alone) what the PE wrote has to do.
uint64_t fault_page(uint64_t syndrome, uint64_t address) {
  const uint64_t reported = read_hpfar_el2();
  const uint64_t exception_class = syndrome >> 26 & 0x3f;
  const bool is_abort = exception_class == 0x20 || exception_class == 0x24;
  const bool is_permission_fault = (syndrome & 0x3c) == 0x0c;
  const bool is_table_walk = (syndrome & 0x80) != 0;
  if (!is_abort || !is_permission_fault || is_table_walk) {
    return reported;
  }
  const uint64_t guests = read_par_el1();
  translate_for_el1_read(address);
  isb();
  const uint64_t result = read_par_el1();
  write_par_el1(guests);
  return (result & 1) != 0 ? reported : (result & UINT64_C(0xffffffffff000)) >> 8;
}

// Enters the guest until it leaves for a reason that is the host's. The interrupt of a request, or
// of a line that has changed, only gets attention; what counts are the flag and the lines. One that
// comes after they were looked at is pending when the guest begins, and ends it at once.
Reason stay_in_guest(Mailbox& own, uint64_t pe) {
  const bool timer_on = (own.flags & kFlagTimerMasked) == 0;
  while (true) {
    if (load_acquire(own.cancel) != 0) {
      store_release(own.cancel, 0);
      return Reason::kCanceled;
    }
    write_hcr_el2(kHcrAlways | load_acquire(own.lines));
    isb();
    set_timer_interrupt(pe, timer_on);
    const uint64_t vector = enter_guest(&own);
    if (vector == 1) {
      if (take_interrupts(pe)) {
        return Reason::kTimer;
      }
      continue;  // A request, a line, or a wake-up that came too late.
    }
    set_timer_interrupt(pe, false);  // It must not wake a PE that is idle.
    own.syndrome = read_esr_el2();
    own.virtual_address = read_far_el2();
    own.fault_page = fault_page(own.syndrome, own.virtual_address);
    return vector == 0 ? Reason::kException : Reason::kUnexpected;
  }
}

void run_guest(Mailbox& own, uint64_t pe) {
  if ((own.flags & kFlagLoadState) != 0) {
    load_state(own);
  }
  if ((own.flags & kFlagFlushTlb) != 0) {
    dsb();
    flush_own_tlb();
    dsb();
  }
  write_cntvoff_el2(own.timer_offset);
  write_mdcr_el2(own.debug_traps);
  own.reason = static_cast<uint64_t>(stay_in_guest(own, pe));
  own.timer_control = read_cntv_ctl_el0();
  own.timer_compare = read_cntv_cval_el0();
  own.timer_count = read_cntvct_el0();
}

void execute(Mailbox& own) {
  switch (static_cast<Command>(own.command)) {
    case Command::kSaveState:
      save_state(own);
      break;
    case Command::kFlushTlbs:
      dsb();
      flush_all_tlbs();
      dsb();
      break;
    case Command::kRewrite:
      for (uint64_t at = 0; at < own.arguments[1]; at += 8) {
        add_zero_atomically(own.arguments[0] + at);
      }
      break;
    case Command::kPowerOn:
      own.result = power_on(own.arguments[0], reinterpret_cast<uint64_t>(&secondary_start));
      break;
    case Command::kReadCounter:
      own.result = read_cntpct_el0();
      break;
  }
  isb();
}

// Looks for a request for a moment, then sleeps. Storing `is_asleep` and looking again is the
// counterpart of the host's storing `request` and looking at `is_asleep`: one sees the other.
Request wait_for_request(Mailbox& own, uint64_t pe) {
  while (true) {
    const uint64_t begin = read_cntpct_el0();
    do {
      const uint32_t request = load_acquire(own.request);
      if (request != 0) {
        return static_cast<Request>(request);
      }
    } while (read_cntpct_el0() - begin < own.spin_ticks);
    store_release(own.is_asleep, 1);
    full_barrier();
    if (load_acquire(own.request) == 0) {
      wait_for_interrupt();  // Returns for one that is pending, although it is masked.
      take_interrupts(pe);
    }
    store_release(own.is_asleep, 0);
  }
}

void ring(uint64_t pe) {
  dsb();
  write32(kUart, bell_of(static_cast<uint32_t>(pe)));
}

}  // namespace

void monitor_main(Mailbox* own, uint64_t pe) {
  set_up_el2();
  set_up_interrupts(pe);
  if (pe == 0) {
    set_up_uart();
  }
  find_absent_registers(*own);
  ring(pe);
  while (true) {
    if (wait_for_request(*own, pe) == Request::kRun) {
      run_guest(*own, pe);
    } else {
      execute(*own);
    }
    store_release(own->request, 0);
    ring(pe);
  }
}

void monitor_panic(Mailbox* own) {
  own->reason = static_cast<uint64_t>(Reason::kPanic);
  own->syndrome = read_esr_el2();
  own->virtual_address = read_far_el2();
  own->pc = read_elr_el2();
  store_release(own->request, 0);
  ring((reinterpret_cast<uint64_t>(own) - stasis::hvf::sim::kMailboxes) /
       stasis::hvf::sim::kMailboxStride);
  while (true) {
    wait_for_interrupt();
  }
}
