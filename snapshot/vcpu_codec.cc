#include "snapshot/vcpu_codec.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "snapshot/manifest_codec.h"

namespace stasis::snapshot::internal {
namespace {

using Words = capnp::List<std::uint64_t>;

// The numbers in files are those of the values; a new enumerator on one side only would break that.
static_assert(static_cast<int>(schema::X86::MpState::SIPI_RECEIVED) ==
              static_cast<int>(X86MpState::kSipiReceived));
static_assert(static_cast<int>(schema::Arm64::Power::SUSPENDED) ==
              static_cast<int>(Arm64PowerState::kSuspended));
// Fields that are encoded one by one below: whoever adds one must add it there too.
static_assert(sizeof(X86GeneralRegisters) == 144 && sizeof(X86DebugRegisters) == 48);
static_assert(sizeof(X86Segment) == 24 && sizeof(X86PendingEvents) == 48);
static_assert(sizeof(X86SystemRegisters) == 312);
static_assert(sizeof(ToyVcpuState) == 152);

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

unsigned size_of(std::size_t count) {
  return static_cast<unsigned>(count);  // validate() has bounded it.
}

void put_words(std::span<const std::uint64_t> values, Words::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) {
    out.set(i, values[i]);
  }
}

Result<void> get_words(std::string_view name, Words::Reader in, std::span<std::uint64_t> out) {
  if (in.size() != out.size()) {
    return corrupt(std::string(name) + ": " + std::to_string(in.size()) + " values instead of " +
                   std::to_string(out.size()));
  }
  for (unsigned i = 0; i < in.size(); ++i) {
    out[i] = in[i];
  }
  return {};
}

// Both directions of a list of named 64-bit registers, in the schema's order.
template <typename Registers>
auto general_of(Registers& r) {
  return std::array{&r.rax, &r.rbx, &r.rcx, &r.rdx, &r.rsi, &r.rdi, &r.rsp, &r.rbp, &r.r8,
                    &r.r9,  &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15, &r.rip, &r.rflags};
}
template <typename Registers>
auto control_of(Registers& r) {
  return std::array{&r.cr0, &r.cr2, &r.cr3, &r.cr4, &r.cr8, &r.efer, &r.apic_base};
}
template <typename Registers>
auto segments_of(Registers& r) {
  return std::array{&r.cs, &r.ds, &r.es, &r.fs, &r.gs, &r.ss, &r.tr, &r.ldt};
}
template <typename Registers>
auto debug_of(Registers& r) {
  return std::array{&r.db[0], &r.db[1], &r.db[2], &r.db[3], &r.dr6, &r.dr7};
}

template <typename Pointers>
void put_named(const Pointers& pointers, Words::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) {
    out.set(i, *pointers[i]);
  }
}

template <typename Pointers>
Result<void> get_named(std::string_view name, Words::Reader in, const Pointers& pointers) {
  std::vector<std::uint64_t> values(pointers.size());
  STASIS_TRY(get_words(name, in, values));
  for (std::size_t i = 0; i < pointers.size(); ++i) {
    *pointers[i] = values[i];
  }
  return {};
}

void encode_events(const X86PendingEvents& events, schema::X86::Events::Builder out) {
  out.setExceptionInjected(events.exception_injected);
  out.setExceptionPending(events.exception_pending);
  out.setExceptionHasErrorCode(events.exception_has_error_code);
  out.setExceptionHasPayload(events.exception_has_payload);
  out.setExceptionVector(events.exception_vector);
  out.setExceptionErrorCode(events.exception_error_code);
  out.setExceptionPayload(events.exception_payload);
  out.setInterruptInjected(events.interrupt_injected);
  out.setInterruptSoft(events.interrupt_soft);
  out.setInterruptVector(events.interrupt_vector);
  out.setInterruptShadow(events.interrupt_shadow);
  out.setNmiInjected(events.nmi_injected);
  out.setNmiPending(events.nmi_pending);
  out.setNmiMasked(events.nmi_masked);
  out.setSipiVector(events.sipi_vector);
  out.setSmmActive(events.smm_active);
  out.setSmiPending(events.smi_pending);
  out.setSmmInsideNmi(events.smm_inside_nmi);
  out.setSmiLatchedInit(events.smi_latched_init);
  out.setTripleFaultPending(events.triple_fault_pending);
}

X86PendingEvents decode_events(schema::X86::Events::Reader in) {
  X86PendingEvents events;
  events.exception_injected = in.getExceptionInjected();
  events.exception_pending = in.getExceptionPending();
  events.exception_has_error_code = in.getExceptionHasErrorCode();
  events.exception_has_payload = in.getExceptionHasPayload();
  events.exception_vector = in.getExceptionVector();
  events.exception_error_code = in.getExceptionErrorCode();
  events.exception_payload = in.getExceptionPayload();
  events.interrupt_injected = in.getInterruptInjected();
  events.interrupt_soft = in.getInterruptSoft();
  events.interrupt_vector = in.getInterruptVector();
  events.interrupt_shadow = in.getInterruptShadow();
  events.nmi_injected = in.getNmiInjected();
  events.nmi_pending = in.getNmiPending();
  events.nmi_masked = in.getNmiMasked();
  events.sipi_vector = in.getSipiVector();
  events.smm_active = in.getSmmActive();
  events.smi_pending = in.getSmiPending();
  events.smm_inside_nmi = in.getSmmInsideNmi();
  events.smi_latched_init = in.getSmiLatchedInit();
  events.triple_fault_pending = in.getTripleFaultPending();
  return events;
}

void encode_system(const X86SystemRegisters& system, schema::X86::Builder out) {
  const auto segments = segments_of(system);
  auto out_segments = out.initSegments(size_of(segments.size()));
  for (unsigned i = 0; i < out_segments.size(); ++i) {
    out_segments[i].setBase(segments[i]->base);
    out_segments[i].setLimit(segments[i]->limit);
    out_segments[i].setSelector(segments[i]->selector);
    out_segments[i].setAttributes(segments[i]->attributes);
  }
  auto tables = out.initTables(2);
  tables[0].setBase(system.gdt.base);
  tables[0].setLimit(system.gdt.limit);
  tables[1].setBase(system.idt.base);
  tables[1].setLimit(system.idt.limit);
  put_named(control_of(system), out.initControl(7));
  put_words(system.interrupt_bitmap, out.initInterruptBitmap(4));
}

Result<void> decode_system(schema::X86::Reader in, X86SystemRegisters& system) {
  const auto segments = segments_of(system);
  const auto in_segments = in.getSegments();
  const auto tables = in.getTables();
  if (in_segments.size() != segments.size() || tables.size() != 2) {
    return corrupt("not 8 segments and 2 descriptor tables");
  }
  for (unsigned i = 0; i < in_segments.size(); ++i) {
    const auto segment = in_segments[i];
    *segments[i] = {segment.getBase(), segment.getLimit(), segment.getSelector(),
                    segment.getAttributes()};
  }
  system.gdt = {tables[0].getBase(), tables[0].getLimit()};
  system.idt = {tables[1].getBase(), tables[1].getLimit()};
  STASIS_TRY(get_named("control", in.getControl(), control_of(system)));
  return get_words("interruptBitmap", in.getInterruptBitmap(), system.interrupt_bitmap);
}

template <typename Register, typename List>
void put_registers(const std::vector<Register>& registers, List out) {
  for (unsigned i = 0; i < out.size(); ++i) {
    out[i].setIndex(registers[i].index);
    out[i].setValue(registers[i].value);
  }
}

template <typename Register, typename List>
Result<std::vector<Register>> get_registers(std::string_view name, List in) {
  if (in.size() > kRegisterListMax) {
    return corrupt(std::string(name) + ": " + std::to_string(in.size()) + " entries");
  }
  std::vector<Register> registers;
  registers.reserve(in.size());
  for (const auto entry : in) {
    registers.push_back({entry.getIndex(), entry.getValue()});
  }
  return registers;
}

void encode_cpuid(const std::vector<X86CpuidEntry>& cpuid, schema::X86::Builder out) {
  auto entries = out.initCpuid(size_of(cpuid.size()));
  for (unsigned i = 0; i < entries.size(); ++i) {
    entries[i].setFunction(cpuid[i].function);
    entries[i].setIndex(cpuid[i].index);
    entries[i].setFlags(cpuid[i].flags);
    entries[i].setEax(cpuid[i].eax);
    entries[i].setEbx(cpuid[i].ebx);
    entries[i].setEcx(cpuid[i].ecx);
    entries[i].setEdx(cpuid[i].edx);
  }
}

Result<std::vector<X86CpuidEntry>> decode_cpuid(schema::X86::Reader in) {
  const auto entries = in.getCpuid();
  if (entries.size() > kRegisterListMax) {
    return corrupt("cpuid: " + std::to_string(entries.size()) + " entries");
  }
  std::vector<X86CpuidEntry> cpuid;
  cpuid.reserve(entries.size());
  for (const auto entry : entries) {
    cpuid.push_back({entry.getFunction(), entry.getIndex(), entry.getFlags(), entry.getEax(),
                     entry.getEbx(), entry.getEcx(), entry.getEdx()});
  }
  return cpuid;
}

void encode_state(const X86VcpuState& state, schema::X86::Builder out) {
  put_named(general_of(state.general), out.initGeneral(18));
  encode_system(state.system, out);
  put_named(debug_of(state.debug), out.initDebug(6));
  encode_events(state.events, out.initEvents());
  out.setMpState(static_cast<schema::X86::MpState>(state.mp_state));
  auto xsave = out.initXsave(size_of(state.xsave.size()));
  std::ranges::copy(state.xsave,
                    std::as_writable_bytes(std::span(xsave.begin(), xsave.size())).begin());
  put_registers(state.xcrs, out.initXcrs(size_of(state.xcrs.size())));
  put_registers(state.msrs, out.initMsrs(size_of(state.msrs.size())));
  encode_cpuid(state.cpuid, out);
  out.setTsc(state.tsc);
  out.setTscKhz(state.tsc_khz);
}

Result<VcpuState> decode_state(schema::X86::Reader in) {
  X86VcpuState state;
  STASIS_TRY(get_named("general", in.getGeneral(), general_of(state.general)));
  STASIS_TRY(decode_system(in, state.system));
  STASIS_TRY(get_named("debug", in.getDebug(), debug_of(state.debug)));
  state.events = decode_events(in.getEvents());
  if (in.getMpState() > schema::X86::MpState::SIPI_RECEIVED) {
    return corrupt("mpState " + std::to_string(static_cast<unsigned>(in.getMpState())));
  }
  state.mp_state = static_cast<X86MpState>(in.getMpState());
  const auto xsave = in.getXsave();
  if (xsave.size() > kXsaveBytesMax) {
    return corrupt("xsave: " + std::to_string(xsave.size()) + " bytes");
  }
  const auto bytes = std::as_bytes(std::span(xsave.begin(), xsave.size()));
  state.xsave.assign(bytes.begin(), bytes.end());
  STASIS_ASSIGN(state.xcrs, get_registers<X86Xcr>("xcrs", in.getXcrs()));
  STASIS_ASSIGN(state.msrs, get_registers<X86Msr>("msrs", in.getMsrs()));
  STASIS_ASSIGN(state.cpuid, decode_cpuid(in));
  state.tsc = in.getTsc();
  state.tsc_khz = in.getTscKhz();
  return VcpuState(std::move(state));
}

template <typename List>
void put_arm_registers(const std::vector<Arm64SystemRegister>& registers, List out) {
  for (unsigned i = 0; i < out.size(); ++i) {
    out[i].setEncoding(registers[i].encoding);
    out[i].setValue(registers[i].value);
  }
}

template <typename List>
Result<std::vector<Arm64SystemRegister>> get_arm_registers(std::string_view name, List in) {
  if (in.size() > kRegisterListMax) {
    return corrupt(std::string(name) + ": " + std::to_string(in.size()) + " entries");
  }
  std::vector<Arm64SystemRegister> registers;
  registers.reserve(in.size());
  for (const auto entry : in) {
    registers.push_back({entry.getEncoding(), entry.getValue()});
  }
  return registers;
}

void encode_state(const Arm64VcpuState& state, schema::Arm64::Builder out) {
  put_words(state.x, out.initX(31));
  out.setPc(state.pc);
  out.setPstate(state.pstate);
  out.setSpEl0(state.sp_el0);
  out.setSpEl1(state.sp_el1);
  auto q = out.initQ(64);
  for (unsigned i = 0; i < 32; ++i) {
    q.set(2 * i, state.q[i].low);
    q.set((2 * i) + 1, state.q[i].high);
  }
  out.setFpcr(state.fpcr);
  out.setFpsr(state.fpsr);
  put_arm_registers(state.system, out.initSystem(size_of(state.system.size())));
  put_arm_registers(state.gic_cpu_interface,
                    out.initGicCpuInterface(size_of(state.gic_cpu_interface.size())));
  put_arm_registers(state.gic_redistributor,
                    out.initGicRedistributor(size_of(state.gic_redistributor.size())));
  out.setTimerOffset(state.virtual_timer.offset);
  out.setTimerMasked(state.virtual_timer.masked);
  out.setIrqPending(state.irq_pending);
  out.setFiqPending(state.fiq_pending);
  out.setPower(static_cast<schema::Arm64::Power>(state.power));
}

Result<VcpuState> decode_state(schema::Arm64::Reader in) {
  Arm64VcpuState state;
  STASIS_TRY(get_words("x", in.getX(), state.x));
  state.pc = in.getPc();
  state.pstate = in.getPstate();
  state.sp_el0 = in.getSpEl0();
  state.sp_el1 = in.getSpEl1();
  std::array<std::uint64_t, 64> q = {};
  STASIS_TRY(get_words("q", in.getQ(), q));
  for (std::size_t i = 0; i < 32; ++i) {
    state.q[i] = {q[2 * i], q[(2 * i) + 1]};
  }
  state.fpcr = in.getFpcr();
  state.fpsr = in.getFpsr();
  STASIS_ASSIGN(state.system, get_arm_registers("system", in.getSystem()));
  STASIS_ASSIGN(state.gic_cpu_interface,
                get_arm_registers("gicCpuInterface", in.getGicCpuInterface()));
  STASIS_ASSIGN(state.gic_redistributor,
                get_arm_registers("gicRedistributor", in.getGicRedistributor()));
  state.virtual_timer = {in.getTimerOffset(), in.getTimerMasked()};
  state.irq_pending = in.getIrqPending();
  state.fiq_pending = in.getFiqPending();
  if (in.getPower() > schema::Arm64::Power::SUSPENDED) {
    return corrupt("power " + std::to_string(static_cast<unsigned>(in.getPower())));
  }
  state.power = static_cast<Arm64PowerState>(in.getPower());
  return VcpuState(std::move(state));
}

void encode_state(const ToyVcpuState& state, schema::Toy::Builder out) {
  put_words(state.r, out.initR(16));
  out.setPc(state.pc);
  out.setInstructions(state.instructions);
  out.setHalted(state.halted);
}

Result<VcpuState> decode_state(schema::Toy::Reader in) {
  ToyVcpuState state;
  STASIS_TRY(get_words("r", in.getR(), state.r));
  state.pc = in.getPc();
  state.instructions = in.getInstructions();
  state.halted = in.getHalted();
  return VcpuState(state);
}

// `key` of one entry is not above that of the entry before it.
template <typename List, typename Key>
bool unordered(const List& list, Key key) {
  return std::ranges::adjacent_find(
             list, [&](const auto& a, const auto& b) { return key(a) >= key(b); }) != list.end();
}

template <typename List, typename Key>
std::optional<std::string> list_violation(std::string_view name, const List& list, Key key) {
  if (list.size() > kRegisterListMax) {
    return std::string(name) + ": " + std::to_string(list.size()) + " entries, at most " +
           std::to_string(kRegisterListMax) + " are allowed";
  }
  if (unordered(list, key)) {
    return std::string(name) + " are not strictly ascending";
  }
  return std::nullopt;
}

std::optional<std::string> violation(const X86VcpuState& state) {
  if (state.xsave.size() > kXsaveBytesMax) {
    return "xsave: " + std::to_string(state.xsave.size()) + " bytes, at most " +
           std::to_string(kXsaveBytesMax) + " are allowed";
  }
  if (state.cpuid.size() > kRegisterListMax) {
    return "cpuid: " + std::to_string(state.cpuid.size()) + " entries";
  }
  if (auto bad = list_violation("xcrs", state.xcrs, [](const X86Xcr& r) { return r.index; })) {
    return bad;
  }
  return list_violation("msrs", state.msrs, [](const X86Msr& r) { return r.index; });
}

std::optional<std::string> violation(const Arm64VcpuState& state) {
  const auto key = [](const Arm64SystemRegister& r) { return r.encoding; };
  if (auto bad = list_violation("system registers", state.system, key)) {
    return bad;
  }
  if (auto bad = list_violation("GIC registers", state.gic_cpu_interface, key)) {
    return bad;
  }
  return list_violation("redistributor registers", state.gic_redistributor, key);
}

std::optional<std::string> violation(const ToyVcpuState& /*state*/) {
  return std::nullopt;
}

void encode_into(const X86VcpuState& state, schema::Vcpu::State::Builder out) {
  encode_state(state, out.initX86());
}
void encode_into(const Arm64VcpuState& state, schema::Vcpu::State::Builder out) {
  encode_state(state, out.initArm64());
}
void encode_into(const ToyVcpuState& state, schema::Vcpu::State::Builder out) {
  encode_state(state, out.initToy());
}

}  // namespace

std::optional<std::string> violation_in(const VcpuState& state) {
  return std::visit([](const auto& s) { return violation(s); }, state);
}

void encode_vcpu(const VcpuState& state, schema::Vcpu::Builder out) {
  std::visit([&](const auto& s) { encode_into(s, out.getState()); }, state);
}

Result<VcpuState> decode_vcpu(schema::Vcpu::Reader in) {
  const auto state = in.getState();
  switch (state.which()) {
    case schema::Vcpu::State::X86:
      return decode_state(state.getX86());
    case schema::Vcpu::State::ARM64:
      return decode_state(state.getArm64());
    case schema::Vcpu::State::TOY:
      return decode_state(state.getToy());
    case schema::Vcpu::State::UNSPECIFIED:
      break;
  }
  return corrupt("state of an unknown kind (" +
                 std::to_string(static_cast<unsigned>(state.which())) + ")");
}

}  // namespace stasis::snapshot::internal
