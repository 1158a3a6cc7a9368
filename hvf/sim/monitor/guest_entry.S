// The monitor's part that C++ cannot express: where PEs begin, the exception vectors, the way into
// the guest and back, and two instructions for each system register. See mailbox.h.
#include "hvf/sim/monitor/registers.h"

#define MAILBOXES 0x40001000
#define STACKS 0x40010000
#define MAILBOX_PC 248
#define MAILBOX_CPSR 256
#define MAILBOX_STUB_FAULTS 264

    .section .text.start, "ax"
    .global _start
_start:                                 // PE 0, from QEMU, at EL2 with everything masked.
    mov     x19, #0
    b       begin
    .global secondary_start
secondary_start:                        // Powered on by PE 0: x0 is the number.
    mov     x19, x0
begin:
    ldr     x0, =MAILBOXES
    add     x0, x0, x19, lsl #12
    msr     tpidr_el2, x0
    ldr     x1, =STACKS
    add     x2, x19, #1
    add     x1, x1, x2, lsl #12
    mov     sp, x1
    adr     x2, vectors
    msr     vbar_el2, x2
    isb
    mov     x1, x19
    bl      monitor_main                // (mailbox, number); does not return.

    .text
// uint64_t enter_guest(Mailbox*): runs the guest with the mailbox's general registers until an
// exception brings the PE back to EL2, and puts them back there. Returns the vector's number: 0
// synchronous, 1 IRQ, 2 FIQ, 3 SError.
    .global enter_guest
enter_guest:
    stp     x19, x20, [sp, #-96]!
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    ldr     x1, [x0, #MAILBOX_PC]
    msr     elr_el2, x1
    ldr     x1, [x0, #MAILBOX_CPSR]
    msr     spsr_el2, x1
    mov     x30, x0
    ldp     x0, x1, [x30]
    ldp     x2, x3, [x30, #16]
    ldp     x4, x5, [x30, #32]
    ldp     x6, x7, [x30, #48]
    ldp     x8, x9, [x30, #64]
    ldp     x10, x11, [x30, #80]
    ldp     x12, x13, [x30, #96]
    ldp     x14, x15, [x30, #112]
    ldp     x16, x17, [x30, #128]
    ldp     x18, x19, [x30, #144]
    ldp     x20, x21, [x30, #160]
    ldp     x22, x23, [x30, #176]
    ldp     x24, x25, [x30, #192]
    ldp     x26, x27, [x30, #208]
    ldp     x28, x29, [x30, #224]
    ldr     x30, [x30, #240]
    eret

// From a vector: x29 and x30 are on the stack, x29 is the vector's number.
leave_guest:
    mrs     x30, tpidr_el2
    stp     x0, x1, [x30]
    stp     x2, x3, [x30, #16]
    stp     x4, x5, [x30, #32]
    stp     x6, x7, [x30, #48]
    stp     x8, x9, [x30, #64]
    stp     x10, x11, [x30, #80]
    stp     x12, x13, [x30, #96]
    stp     x14, x15, [x30, #112]
    stp     x16, x17, [x30, #128]
    stp     x18, x19, [x30, #144]
    stp     x20, x21, [x30, #160]
    stp     x22, x23, [x30, #176]
    stp     x24, x25, [x30, #192]
    stp     x26, x27, [x30, #208]
    mov     x0, x29
    ldp     x1, x2, [sp], #16
    stp     x28, x1, [x30, #224]
    str     x2, [x30, #240]
    mrs     x1, elr_el2
    str     x1, [x30, #MAILBOX_PC]
    mrs     x1, spsr_el2
    str     x1, [x30, #MAILBOX_CPSR]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     x19, x20, [sp], #96
    ret

// void save_vectors(uint64_t (*q)[2]), void load_vectors(const uint64_t (*q)[2])
#define TRANSFER_VECTORS(op)                                                   \
    op q0, q1, [x0]; op q2, q3, [x0, #32]; op q4, q5, [x0, #64];               \
    op q6, q7, [x0, #96]; op q8, q9, [x0, #128]; op q10, q11, [x0, #160];      \
    op q12, q13, [x0, #192]; op q14, q15, [x0, #224]; op q16, q17, [x0, #256]; \
    op q18, q19, [x0, #288]; op q20, q21, [x0, #320]; op q22, q23, [x0, #352]; \
    op q24, q25, [x0, #384]; op q26, q27, [x0, #416]; op q28, q29, [x0, #448]; \
    op q30, q31, [x0, #480]; ret
    .global save_vectors
save_vectors:
    TRANSFER_VECTORS(stp)
    .global load_vectors
load_vectors:
    TRANSFER_VECTORS(ldp)

// Sixteen bytes for each register: to read it into x0, and to write it from there.
#define STUB(encoding) \
    .inst 0xd5200000 | ((encoding) << 5); ret; .inst 0xd5000000 | ((encoding) << 5); ret;
    .balign 16
    .global register_stubs
register_stubs:
    STASIS_SIM_STATE_REGISTERS(STUB)
    STASIS_SIM_IDENTITY_REGISTERS(STUB)
register_stubs_end:

// An exception of the monitor itself. A register that the PE has not is UNDEFINED: count it and go
// on behind the access. All else is a mistake in the monitor.
own_exception:
    stp     x0, x1, [sp, #-16]!
    mrs     x0, elr_el2
    adr     x1, register_stubs
    cmp     x0, x1
    b.lo    panic
    adr     x1, register_stubs_end
    cmp     x0, x1
    b.hs    panic
    add     x0, x0, #4
    msr     elr_el2, x0
    mrs     x1, tpidr_el2
    ldr     w0, [x1, #MAILBOX_STUB_FAULTS]
    add     w0, w0, #1
    str     w0, [x1, #MAILBOX_STUB_FAULTS]
    ldp     x0, x1, [sp], #16
    eret
panic:
    mrs     x0, tpidr_el2
    bl      monitor_panic               // (mailbox); does not return.

    .macro OWN_VECTOR
    .balign 128
    b       own_exception
    .endm
    .macro GUEST_VECTOR number
    .balign 128
    stp     x29, x30, [sp, #-16]!
    mov     x29, #\number
    b       leave_guest
    .endm
    .macro NO_VECTOR                    // SP_EL0 at EL2, or a guest in AArch32.
    .balign 128
    b       panic
    .endm

    .balign 2048
vectors:
    .rept 4
    NO_VECTOR
    .endr
    .rept 4
    OWN_VECTOR
    .endr
    GUEST_VECTOR 0
    GUEST_VECTOR 1
    GUEST_VECTOR 2
    GUEST_VECTOR 3
    .rept 4
    NO_VECTOR
    .endr
    .ltorg
