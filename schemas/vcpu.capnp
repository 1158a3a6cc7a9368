# The state of one vCPU. Lists that are empty leave that part of the vCPU as it was created. The
# meaning of each field is that of its namesake in core/x86_state.h, arm64_state.h and toy_state.h.
@0x8c5e4f1b90a7d263;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("stasis::schema");

struct Vcpu {
  activity @0 :Activity;
  wakePending @1 :Bool;
  state :union {
    unspecified @2 :Void;  # Refused.
    x86 @3 :X86;
    arm64 @4 :Arm64;
    toy @5 :Toy;
  }
  enum Activity { running @0; parked @1; halted @2; }
}

struct X86 {
  general @0 :List(UInt64);  # 18: rax rbx rcx rdx rsi rdi rsp rbp r8 .. r15 rip rflags.
  segments @1 :List(Segment);  # 8: cs ds es fs gs ss tr ldt.
  tables @2 :List(Table);      # 2: gdt idt.
  control @3 :List(UInt64);    # 7: cr0 cr2 cr3 cr4 cr8 efer apic_base.
  interruptBitmap @4 :List(UInt64);  # 4.
  debug @5 :List(UInt64);      # 6: db0 .. db3 dr6 dr7.
  events @6 :Events;
  mpState @7 :MpState;
  xsave @8 :Data;              # At most 64 KiB.
  xcrs @9 :List(Register);     # At most 4096 each; strictly ascending index.
  msrs @10 :List(Register);
  cpuid @11 :List(Cpuid);      # At most 4096.
  tsc @12 :UInt64;
  tscKhz @13 :UInt32;

  struct Segment { base @0 :UInt64; limit @1 :UInt32; selector @2 :UInt16; attributes @3 :UInt32; }
  struct Table { base @0 :UInt64; limit @1 :UInt16; }
  struct Register { index @0 :UInt32; value @1 :UInt64; }
  struct Cpuid {
    function @0 :UInt32; index @1 :UInt32; flags @2 :UInt32;
    eax @3 :UInt32; ebx @4 :UInt32; ecx @5 :UInt32; edx @6 :UInt32;
  }
  struct Events {
    exceptionInjected @0 :Bool; exceptionPending @1 :Bool; exceptionHasErrorCode @2 :Bool;
    exceptionHasPayload @3 :Bool; exceptionVector @4 :UInt8; exceptionErrorCode @5 :UInt32;
    exceptionPayload @6 :UInt64;
    interruptInjected @7 :Bool; interruptSoft @8 :Bool; interruptVector @9 :UInt8;
    interruptShadow @10 :UInt8;
    nmiInjected @11 :Bool; nmiPending @12 :Bool; nmiMasked @13 :Bool;
    sipiVector @14 :UInt32;
    smmActive @15 :Bool; smiPending @16 :Bool; smmInsideNmi @17 :Bool; smiLatchedInit @18 :Bool;
    tripleFaultPending @19 :Bool;
  }
  enum MpState { runnable @0; uninitialized @1; initReceived @2; halted @3; sipiReceived @4; }
}

struct Arm64 {
  x @0 :List(UInt64);  # 31.
  pc @1 :UInt64;
  pstate @2 :UInt64;
  spEl0 @3 :UInt64;
  spEl1 @4 :UInt64;
  q @5 :List(UInt64);  # 64: low and high half of q0, of q1, ...
  fpcr @6 :UInt64;
  fpsr @7 :UInt64;
  system @8 :List(Register);  # At most 4096 each; strictly ascending encoding.
  gicCpuInterface @9 :List(Register);
  timerOffset @10 :UInt64;
  timerMasked @11 :Bool;
  irqPending @12 :Bool;
  fiqPending @13 :Bool;
  power @14 :Power;
  gicRedistributor @15 :List(Register);  # By offset in the second frame.

  struct Register { encoding @0 :UInt16; value @1 :UInt64; }
  enum Power { on @0; off @1; suspended @2; }
}

struct Toy {
  r @0 :List(UInt64);  # 16.
  pc @1 :UInt64;
  instructions @2 :UInt64;
  halted @3 :Bool;
}
