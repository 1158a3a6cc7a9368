#include "kvm/kvm_vcpu.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): pthread_kill() is POSIX.

#include <cstring>
#include <utility>

#include "kvm/failure_text.h"
#include "kvm/guest_counter.h"
#include "kvm/guest_tables.h"
#include "kvm/kick_signal.h"
#include "kvm/x86_transfer.h"

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kRegisterFiles =
    KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;

}  // namespace

Result<std::unique_ptr<Vcpu>> KvmVcpu::create(const KvmFd& vm, std::shared_ptr<HostFacts> facts,
                                              MemorySlots& slots, std::uint32_t index,
                                              const std::atomic<std::uint32_t>& created,
                                              VcpuRings* rings) {
  STASIS_ASSIGN(const int signal_number, kick_signal());
  STASIS_TRY(unblock_kick_signal(signal_number));
  STASIS_ASSIGN(const int descriptor, vm.call(kCreateVcpu, index));
  KvmFd fd{UniqueFd(descriptor)};
  STASIS_ASSIGN(RunMapping run, RunMapping::create(fd, facts->features().run_mapping_bytes));
  STASIS_ASSIGN(std::vector<X86CpuidEntry> cpuid, facts->guest_cpuid());
  for (X86CpuidEntry& entry : cpuid) {
    if (entry.function == 1) {
      entry.ebx |= index << 24U;  // Initial APIC id: SDM vol. 2A, CPUID leaf 1.
    } else if (entry.function == 0xb || entry.function == 0x1f) {
      entry.edx = index;  // x2APIC id.
    }
  }
  STASIS_TRY(set_cpuid(fd, cpuid));
  if (rings != nullptr) {
    STASIS_TRY(rings->add(fd));
  }
  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(std::move(fd), std::move(run), std::move(facts), slots,
                                            created, rings, signal_number));
  vcpu->given_.cpuid = std::move(cpuid);
  return std::unique_ptr<Vcpu>(std::move(vcpu));
}

KvmVcpu::KvmVcpu(KvmFd fd, RunMapping run, std::shared_ptr<HostFacts> facts, MemorySlots& slots,
                 const std::atomic<std::uint32_t>& created, VcpuRings* rings, int kick_signal)
    : facts_(std::move(facts)),
      slots_(slots),
      vcpus_created_(created),
      rings_(rings),
      kick_signal_(kick_signal),
      owner_(std::this_thread::get_id()),
      owner_handle_(::pthread_self()),
      fd_(std::move(fd)),
      run_(std::move(run)) {}

Result<void> KvmVcpu::check_thread() const {
  if (std::this_thread::get_id() != owner_) {
    return Error{Errc::kInvalidArgument, 0,
                 "a vCPU belongs to the thread that created it; only request_exit() may be called "
                 "from another"};
  }
  return {};
}

void KvmVcpu::set_immediate_exit(bool on) noexcept {
  std::atomic_ref<std::uint8_t>(run_->immediate_exit).store(on ? 1 : 0);
}

void KvmVcpu::request_exit() noexcept {
  cancel_requested_.store(true);
  set_immediate_exit(true);
  if (in_kernel_.load()) {
    ::pthread_kill(owner_handle_, kick_signal_);
  }
}

int KvmVcpu::enter_kernel() noexcept {
  in_kernel_.store(true);
  const int answer = fd_.attempt(kRun, 0);
  in_kernel_.store(false);
  return answer;
}

Result<void> KvmVcpu::pass_entry_gate() {
  if (gate_passed_) {
    return {};
  }
  if (!slots_.all_registered()) {
    bool wait = vcpus_created_.load(std::memory_order_relaxed) > 1;
    if (!wait) {
      // Without a load the vCPU is as KVM made it: in real mode, for which there is no deferral.
      wait = !loaded_system_ || !tables_are_below(slots_, *loaded_system_, slots_.first_pending());
    }
    if (wait) {
      STASIS_TRY(slots_.wait_all());
    }
  }
  gate_passed_ = true;
  loaded_system_.reset();
  return {};
}

Result<VcpuExit> KvmVcpu::run() {
  STASIS_TRY(check_thread());
  if (io_.awaiting_answer()) {
    return Error{Errc::kInvalidArgument, 0,
                 "the guest waits for a value: complete_read() comes before run()"};
  }
  if (io_.has_next()) {
    return io_.next();
  }
  STASIS_TRY(pass_entry_gate());
  return run_until_exit();
}

Result<VcpuExit> KvmVcpu::run_for(std::uint64_t) {
  return Error{Errc::kNotSupported, 0,
               "KVM cannot stop a guest after a number of instructions: use the mock backend"};
}

Result<VcpuExit> KvmVcpu::run_until_exit() {
  used_ = true;
  for (;;) {
    const bool slots_were_pending = !slots_.all_registered();
    instruction_unfinished_ = false;
    const int answer = enter_kernel();
    Decoded decoded = std::optional<VcpuExit>();
    if (answer == -EINTR) {
      decoded = decode_interruption();
    } else if (answer < 0 && answer != -EAGAIN) {
      decoded = decode_refusal(-answer, slots_were_pending);
    } else if (answer >= 0) {
      decoded = decode_exit(slots_were_pending);
    }
    if (!decoded) {
      return std::move(decoded).error();
    }
    if (decoded->has_value()) {
      return **std::move(decoded);
    }
  }
}

// The flag is lowered before the request is consumed: a request that arrives in between raises the
// flag again, and costs at most one entry that returns at once.
KvmVcpu::Decoded KvmVcpu::decode_interruption() {
  set_immediate_exit(false);
  if (cancel_requested_.exchange(false)) {
    return std::optional<VcpuExit>(ExitCanceled{});
  }
  return std::optional<VcpuExit>();  // A signal that was not ours.
}

KvmVcpu::Decoded KvmVcpu::decode_refusal(int os_error, bool slots_were_pending) {
  if (slots_were_pending) {  // Possibly RAM that was not registered yet: once more with all of it.
    STASIS_TRY(slots_.wait_all());
    return std::optional<VcpuExit>();
  }
  return describe_refusal(fd_, run_.get(), os_error);
}

KvmVcpu::Decoded KvmVcpu::fail(std::string reason) {
  return std::optional<VcpuExit>(ExitFailed{std::move(reason)});
}

KvmVcpu::Decoded KvmVcpu::decode_exit(bool slots_were_pending) {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      return decode_port();
    case KVM_EXIT_MMIO:
      return decode_mmio();
    case KVM_EXIT_HLT:
      return std::optional<VcpuExit>(ExitHalted{});
    case KVM_EXIT_DIRTY_RING_FULL:
      return empty_rings();
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return std::optional<VcpuExit>();
    default:
      // The processor may have missed a table, the emulator an instruction or its operand, in RAM
      // that is not registered yet. None of these exits changes the guest's registers or memory,
      // so the instruction can execute once more when all RAM is there.
      if (slots_were_pending) {
        STASIS_TRY(slots_.wait_all());
        STASIS_TRY(forget_translations());
        return std::optional<VcpuExit>();
      }
      return fail(describe_failure(fd_, run_.get()));
  }
}

// KVM lets a vCPU whose ring is nearly full run on only when there is room again.
KvmVcpu::Decoded KvmVcpu::empty_rings() {
  if (rings_ == nullptr) {
    return Error{Errc::kBackend, 0, "KVM_EXIT_DIRTY_RING_FULL from a vCPU without a ring"};
  }
  STASIS_TRY(rings_->empty());
  return std::optional<VcpuExit>();
}

// A guest that switches to page tables outside of every slot gets an empty shadow root from KVM,
// and keeps it when the slot appears. A change of a paging bit makes KVM build its roots anew.
Result<void> KvmVcpu::forget_translations() {
  constexpr std::uint64_t kCr4GlobalPages = 1U << 7U;
  kvm_sregs sregs{};
  STASIS_TRY(fd_.apply(kGetSregs, &sregs));
  sregs.cr4 ^= kCr4GlobalPages;
  STASIS_TRY(fd_.apply(kSetSregs, &sregs));
  sregs.cr4 ^= kCr4GlobalPages;
  return fd_.apply(kSetSregs, &sregs);
}

KvmVcpu::Decoded KvmVcpu::decode_port() {
  const auto& io = run_->io;
  const std::span<std::byte> data = run_.bytes(io.data_offset, std::uint64_t{io.size} * io.count);
  if (data.empty()) {
    return Error{Errc::kBackend, 0, "KVM_EXIT_IO points outside of kvm_run"};
  }
  const bool is_read = io.direction == KVM_EXIT_IO_IN;
  io_.begin_port(io.port, is_read ? IoDirection::kRead : IoDirection::kWrite, io.size, data);
  instruction_unfinished_ = true;
  return std::optional<VcpuExit>(io_.next());
}

KvmVcpu::Decoded KvmVcpu::decode_mmio() {
  auto& mmio = run_->mmio;
  if (mmio.len == 0 || mmio.len > sizeof(mmio.data)) {
    return Error{Errc::kBackend, 0, "KVM_EXIT_MMIO has a length of " + std::to_string(mmio.len)};
  }
  const auto data = std::as_writable_bytes(std::span(mmio.data)).first(mmio.len);
  instruction_unfinished_ = true;
  STASIS_ASSIGN(const bool was_ram,
                complete_ram_access(Gpa{mmio.phys_addr}, data, mmio.is_write != 0));
  if (was_ram) {
    return std::optional<VcpuExit>();
  }
  if (!slots_.host_bytes(Gpa{mmio.phys_addr}, mmio.len).empty()) {
    return fail("the guest wrote to read-only RAM at " + hex(mmio.phys_addr) +
                describe_position(fd_));
  }
  io_.begin_mmio(mmio.phys_addr, mmio.is_write != 0 ? IoDirection::kWrite : IoDirection::kRead,
                 data);
  return std::optional<VcpuExit>(io_.next());
}

// KVM emulates an instruction whose operand is in no slot and asks for the bytes. If they are RAM,
// the slot was not registered when the instruction began: they are read or written here, and KVM
// completes the instruction as if a device had answered.
Result<bool> KvmVcpu::complete_ram_access(Gpa gpa, std::span<std::byte> data, bool is_write) {
  const std::span<std::byte> ram = slots_.host_bytes(gpa, data.size());
  if (ram.empty() || (is_write && (slots_.flags() & KVM_MEM_READONLY) != 0)) {
    return false;
  }
  STASIS_TRY(slots_.wait_for(gpa));
  if (is_write) {
    std::memcpy(ram.data(), data.data(), data.size());
  } else {
    std::memcpy(data.data(), ram.data(), data.size());
  }
  return true;
}

Result<void> KvmVcpu::complete_read(std::uint64_t value) {
  STASIS_TRY(check_thread());
  if (!io_.awaiting_answer()) {
    return Error{Errc::kInvalidArgument, 0, "complete_read() without an ExitIoRead"};
  }
  io_.answer(value);
  return {};
}

// immediate_exit makes KVM_RUN complete what is pending and do no more (api.rst, KVM_RUN).
int KvmVcpu::enter_kernel_to_complete() {
  set_immediate_exit(true);
  const int answer = enter_kernel();
  set_immediate_exit(false);
  if (cancel_requested_.load()) {  // Its flag may be the one that was just lowered.
    set_immediate_exit(true);
  }
  return answer;
}

// The instruction goes on with another access, which run() will hand out.
Result<void> KvmVcpu::keep_next_access() {
  STASIS_ASSIGN(const auto exit,
                run_->exit_reason == KVM_EXIT_MMIO ? decode_mmio() : decode_port());
  if (exit.has_value()) {
    io_.hand_out_again();
  }
  return {};
}

// KVM completes an instruction that made a device access when KVM_RUN is called again.
Result<void> KvmVcpu::finish_instruction() {
  while (instruction_unfinished_) {
    if (io_.awaiting_answer() || io_.has_next()) {
      return Error{Errc::kInvalidArgument, 0,
                   "the guest is in the middle of an instruction that makes several device "
                   "accesses: run() until it is finished"};
    }
    const bool slots_were_pending = !slots_.all_registered();
    instruction_unfinished_ = false;
    const int answer = enter_kernel_to_complete();
    if (answer == -EINTR) {
      break;
    }
    if (answer < 0) {
      return KvmFd::request_error("KVM_RUN", -answer);
    }
    if (run_->exit_reason == KVM_EXIT_MMIO || run_->exit_reason == KVM_EXIT_IO) {
      STASIS_TRY(keep_next_access());
    } else if (!slots_were_pending) {
      return Error{Errc::kBackend, 0, describe_failure(fd_, run_.get())};
    }
  }
  return {};
}

// Before other state is loaded: what KVM would complete later belongs to the state that is gone.
Result<void> KvmVcpu::discard_instruction() {
  constexpr int kFragmentsMax = 4096;  // A page of one-byte elements.
  for (int i = 0; instruction_unfinished_; ++i) {
    if (i == kFragmentsMax) {
      return Error{Errc::kBackend, 0, "an instruction makes device accesses without end"};
    }
    io_.abandon();
    auto finished = finish_instruction();
    if (!finished && finished.error().code != Errc::kInvalidArgument) {
      return finished;
    }
  }
  io_.abandon();
  return {};
}

Result<VcpuState> KvmVcpu::save_state() {
  STASIS_TRY(check_thread());
  STASIS_TRY(finish_instruction());
  X86VcpuState state;
  STASIS_TRY(save_registers(state));
  STASIS_TRY(save_vcpu_beside_registers(fd_, *facts_, state));
  state.cpuid = given_.cpuid;
  return VcpuState(std::move(state));
}

Result<void> KvmVcpu::load_state(const VcpuState& any_state) {
  STASIS_TRY(check_thread());
  const auto* state = std::get_if<X86VcpuState>(&any_state);
  if (state == nullptr) {
    return Error{Errc::kMismatch, 0,
                 "the state is of a vCPU of architecture " +
                     std::string(name_of(architecture_of(any_state))) +
                     "; KVM on this host runs x86-64"};
  }
  STASIS_TRY(discard_instruction());
  const VcpuHistory history = used_ ? VcpuHistory::kUsed : VcpuHistory::kFresh;
  used_ = true;
  gate_passed_ = false;
  loaded_system_ = state->system;
  STASIS_TRY(load_vcpu_before_registers(fd_, *facts_, *state, history, given_));
  STASIS_TRY(load_registers(*state));
  return load_vcpu_after_registers(fd_, *facts_, *state, history);
}

Result<CounterRelation> KvmVcpu::counter_relation() {
  STASIS_TRY(check_thread());
  if (facts_->features().engine == Engine::kPvm) {
    return kSameCounter;
  }
  return read_counter_relation(fd_, given_.native_tsc_khz);
}

// One KVM_RUN that enters no guest loads three register files, or stores them, at the price of one
// ioctl.
Result<void> KvmVcpu::save_registers(X86VcpuState& state) {
  kvm_sync_regs& shared = run_->s.regs;
  if (facts_->features().shares(kRegisterFiles)) {
    // KVM stores what is valid at every KVM_RUN: here once, not at each of the guest's exits.
    const std::uint64_t valid = std::exchange(run_->kvm_valid_regs, kRegisterFiles);
    const int answer = enter_kernel_to_complete();
    run_->kvm_valid_regs = valid;
    if (answer != -EINTR) {
      return KvmFd::request_error("KVM_RUN", -answer);
    }
  } else {
    STASIS_TRY(fd_.apply(kGetRegs, &shared.regs));
    STASIS_TRY(fd_.apply(kGetSregs, &shared.sregs));
    STASIS_TRY(fd_.apply(kGetVcpuEvents, &shared.events));
  }
  state.general = from_kvm(shared.regs);
  state.system = from_kvm(shared.sregs);
  state.events = from_kvm(shared.events);
  return {};
}

Result<void> KvmVcpu::load_registers(const X86VcpuState& state) {
  const kvm_regs regs = to_kvm(state.general);
  const kvm_sregs sregs = to_kvm(state.system);
  const kvm_vcpu_events events = to_kvm(state.events, event_features(*facts_));
  run_->cr8 = state.system.cr8;  // Every KVM_RUN loads it where KVM has no local APIC.
  run_->apic_base = state.system.apic_base;
  if (!facts_->features().shares(kRegisterFiles)) {
    STASIS_TRY(fd_.apply(kSetSregs, &sregs));
    STASIS_TRY(fd_.apply(kSetRegs, &regs));
    return fd_.apply(kSetVcpuEvents, &events);
  }
  run_->s.regs.regs = regs;
  run_->s.regs.sregs = sregs;
  run_->s.regs.events = events;
  run_->kvm_dirty_regs = kRegisterFiles;
  set_immediate_exit(true);
  const int answer = enter_kernel();
  run_->kvm_dirty_regs = 0;
  set_immediate_exit(false);
  if (cancel_requested_.load()) {
    set_immediate_exit(true);
  }
  if (answer == -EINTR) {
    return {};
  }
  return explain_refused_registers(state, KvmFd::request_error("KVM_RUN", -answer));
}

Error KvmVcpu::explain_refused_registers(const X86VcpuState& state, const Error& refusal) const {
  const kvm_sregs sregs = to_kvm(state.system);
  if (!fd_.apply(kSetSregs, &sregs)) {
    return Error{Errc::kMismatch, refusal.os_error,
                 "the system registers are refused by this host (cr0 = " + hex(state.system.cr0) +
                     ", cr4 = " + hex(state.system.cr4) + ", efer = " + hex(state.system.efer) +
                     ", cr3 = " + hex(state.system.cr3) +
                     "): restore on a host with the CPU features that they enable"};
  }
  const kvm_vcpu_events events = to_kvm(state.events, event_features(*facts_));
  if (!fd_.apply(kSetVcpuEvents, &events)) {
    return Error{Errc::kMismatch, refusal.os_error,
                 "the pending events are refused by this host's KVM"};
  }
  return Error{Errc::kMismatch, refusal.os_error,
               "the registers are refused by this host's KVM: " + refusal.message};
}

}  // namespace stasis::kvm
