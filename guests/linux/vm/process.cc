#include "guests/linux/vm/process.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <utility>

#include "core/text.h"
#include "guests/linux/vm/layout.h"
#include "guests/linux/vm/process_cpu.h"
#include "guests/linux/vm/system_tables.h"
#include "guests/memory_layout.h"

namespace stasis::linux_guest::vm {
namespace {

// The same access refused so often in a row, although nothing speaks against it: a page table is
// damaged.
constexpr std::uint64_t kSameFaultMax = 64;

// When a process that could not be preempted where it was is asked again.
constexpr std::int64_t kRetryNs = 100'000;

// Bits of a page fault's error code: Intel SDM vol. 3A, 4.7.
constexpr std::uint64_t kFaultPresent = 1, kFaultWrite = 2, kFaultUser = 4, kFaultFetch = 16;
constexpr std::uint8_t kPageFault = 14, kGeneralProtection = 13;

Fault::Kind kind_of(std::uint8_t vector) {
  switch (vector) {
    case 0:
      return Fault::Kind::kDivide;
    case 3:
      return Fault::Kind::kBreakpoint;
    case 6:
      return Fault::Kind::kIllegal;
    case 10:
    case 11:
    case 12:
    case kGeneralProtection:
      return Fault::Kind::kProtection;
    case kPageFault:
      return Fault::Kind::kPage;
    default:
      return Fault::Kind::kOther;
  }
}

// A program has no business at our ports: what it gets is what any other port would give it.
Fault port_fault() {
  return {.kind = Fault::Kind::kProtection, .vector = kGeneralProtection};
}

bool is_at_syscall_stub(const X86TrapRegisters& registers) {
  const std::uint64_t offset = registers.general.rip - layout::kSyscallEntry;
  return offset <= 2;  // The OUT, or behind it (X86TrapAccess::registers()).
}

}  // namespace

Result<void> LinuxProcess::attach(GuestMemory& memory) {
  STASIS_ASSIGN(const std::vector<RegionSpec> expected,
                guests::guest_memory_regions(space_->total_bytes()));
  const auto regions = memory.regions();
  bool same = regions.size() == expected.size();
  for (std::size_t i = 0; same && i < expected.size(); ++i) {
    same = regions[i].range == expected[i].range;
  }
  if (!same) {
    return Error{.code = Errc::kMismatch,
                 .message = "the process was saved with other guest memory"};
  }
  ram_.attach(memory);
  space_->attach(memory);
  return {};
}

Result<WriteOutcome> LinuxProcess::on_trap(std::uint64_t offset, X86TrapAccess& access,
                                           DeviceHost& host) {
  if (!ram_.is_attached()) {
    STASIS_TRY(attach(host.memory()));
  }
  STASIS_ASSIGN(const X86TrapRegisters registers, access.registers());
  if (offset < layout::kVectors) {
    return on_exception(static_cast<std::uint8_t>(offset), access, registers);
  }
  const std::uint64_t port = layout::kPortBase + offset;
  if (port == layout::kPortSyscall && mode_ == Mode::kUser) {
    return on_system_call(access, registers);
  }
  if (port == layout::kPortWait && mode_ == Mode::kEnded) {
    Cpu cpu(access, user_);
    return end(cpu, ended_);
  }
  if (port == layout::kPortWait && mode_ == Mode::kWaiting) {
    return on_waited(access, registers);
  }
  if (port == layout::kPortRewritten && mode_ == Mode::kRewriting) {
    return on_rewritten(access);
  }
  Cpu cpu(access, registers);
  if (mode_ != Mode::kUser) {
    return give_up(cpu, "a stub of the VM's own ring 0 went astray");
  }
  return raise(cpu, port_fault());
}

Result<WriteOutcome> LinuxProcess::on_system_call(X86TrapAccess& access,
                                                  const X86TrapRegisters& registers) {
  Cpu cpu(access, registers);
  if (!is_at_syscall_stub(registers)) {
    return raise(cpu, port_fault());
  }
  ++counters_.system_calls;
  last_fault_.times = 0;
  cpu.general().rip = registers.general.rcx;
  cpu.general().rflags = registers.general.r11;
  STASIS_TRY(deliver_requests());
  return proceed(cpu, kernel_->syscall(cpu));
}

Result<WriteOutcome> LinuxProcess::on_exception(std::uint8_t vector, X86TrapAccess& access,
                                                const X86TrapRegisters& registers) {
  const ExceptionFrame frame = read_exception_frame(ram_, vector);
  Cpu cpu(access, registers);
  if (mode_ != Mode::kUser || !frame.is_from_user()) {
    return give_up(cpu, "exception " + std::to_string(vector) + " at " + hex(frame.rip) +
                            " (address " + hex(registers.cr2) + ") in the VM's own ring 0");
  }
  cpu.general().rip = frame.rip;
  cpu.general().rflags = frame.rflags;
  cpu.general().rsp = frame.rsp;
  Fault fault{.kind = kind_of(vector), .vector = vector, .error_code = frame.error_code};
  if (vector == kPageFault) {
    fault.address = registers.cr2;
    Resolution outcome = Resolution::kResolved;
    if (resolve(fault, frame.rip, outcome)) {
      ++counters_.page_faults;
      return enter_process(cpu, {});
    }
    if (outcome == Resolution::kOutOfMemory) {
      return give_up(cpu, "out of memory: all of the guest's " +
                              describe_bytes(space_->memory_bytes()) + " are in use; give it more");
    }
    // What Linux would have seen: "present" if there is a mapping that does not allow the access.
    // PVM calls the upper half of the address space reserved.
    fault.error_code = (fault.error_code & (kFaultWrite | kFaultUser | kFaultFetch)) |
                       (outcome == Resolution::kDenied ? kFaultPresent : 0);
  }
  ++counters_.other_faults;
  return raise(cpu, fault);
}

bool LinuxProcess::resolve(const Fault& fault, std::uint64_t rip, Resolution& outcome) {
  const Access access = (fault.error_code & kFaultFetch) != 0   ? Access::kExecute
                        : (fault.error_code & kFaultWrite) != 0 ? Access::kWrite
                                                                : Access::kRead;
  outcome = space_->resolve({fault.address}, access);
  const bool same = rip == last_fault_.rip && fault.address == last_fault_.address;
  last_fault_ = {.rip = rip, .address = fault.address, .times = same ? last_fault_.times + 1 : 0};
  if (outcome == Resolution::kResolved && last_fault_.times > kSameFaultMax) {
    outcome = Resolution::kDenied;
  }
  return outcome == Resolution::kResolved;
}

Result<WriteOutcome> LinuxProcess::raise(Cpu& cpu, const Fault& fault) {
  STASIS_TRY(deliver_requests());
  return proceed(cpu, kernel_->fault(cpu, fault));
}

Result<WriteOutcome> LinuxProcess::on_waited(X86TrapAccess& access,
                                             const X86TrapRegisters& registers) {
  if (is_restored_) {
    const MutexLock lock(mutex_);
    if (!first_resumed_) {
      constexpr std::uint64_t kLow = 0xffff'ffff;
      first_resumed_ = (registers.general.rdx << 32U) | (registers.general.rax & kLow);  // RDTSC
    }
  }
  Cpu cpu(access, user_);
  STASIS_TRY(deliver_requests());
  return proceed(cpu, kernel_->wake(cpu));
}

Result<WriteOutcome> LinuxProcess::on_rewritten(X86TrapAccess& access) {
  Cpu cpu(access, user_);
  return enter_process(cpu, {});
}

Result<bool> LinuxProcess::deliver_requests() {
  std::deque<std::vector<std::byte>> requests;
  {
    const MutexLock lock(mutex_);
    requests.swap(requests_);
  }
  for (const std::vector<std::byte>& request : requests) {
    STASIS_TRY(kernel_->post_request(request));
  }
  return !requests.empty();
}

std::optional<MachineEvent> LinuxProcess::collect_response() {
  std::optional<std::vector<std::byte>> response = kernel_->take_response();
  if (!response) {
    return std::nullopt;
  }
  MachineEvent event{.kind = MachineEvent::Kind::kResponse, .value = response->size()};
  const MutexLock lock(mutex_);
  responses_.push_back(*std::move(response));
  return event;
}

Result<WriteOutcome> LinuxProcess::proceed(Cpu& cpu, AfterTrap after) {
  // A request that came while the kernel decided to wait.
  while (after == AfterTrap::kWait) {
    STASIS_ASSIGN(const bool delivered, deliver_requests());
    if (!delivered) {
      break;
    }
    after = kernel_->wake(cpu);
  }
  std::optional<MachineEvent> response = collect_response();
  if (after == AfterTrap::kContinue) {
    return enter_process(cpu, std::move(response));
  }
  if (response) {
    // One event at a time: what comes next is found by the waiting stub.
    return wait(cpu, AfterWrite::kContinue, std::move(response));
  }
  if (after == AfterTrap::kExited) {
    return end(cpu, exit_event());
  }
  if (kernel_->wants_request() && !was_ready_) {
    was_ready_ = true;
    return wait(cpu, AfterWrite::kHold, MachineEvent{.kind = MachineEvent::Kind::kReady});
  }
  return wait(cpu, AfterWrite::kPark, {});
}

Result<WriteOutcome> LinuxProcess::enter_process(Cpu& cpu, std::optional<MachineEvent> event) {
  if (const std::optional<CounterTime> time = kernel_->corrected_time()) {
    publish(*time);
  }
  std::vector<EntryRun>& rewrites = space_->rewrites();
  if (rewrites.empty()) {
    mode_ = Mode::kUser;
    STASIS_TRY(cpu.enter(cpu.registers()));
  } else {
    ++counters_.rewrites;
    for (const EntryRun& run : rewrites) {
      counters_.rewritten_entries += run.count;
    }
    mode_ = Mode::kRewriting;
    user_ = cpu.registers();
    STASIS_TRY(cpu.enter(begin_rewriting(ram_, rewrites, user_)));
  }
  return WriteOutcome{
      .after = AfterWrite::kContinue, .event = std::move(event), .interrupt = plan_interrupt()};
}

// What the time page has from before a restore must not be seen.
Result<InterruptPlan> LinuxProcess::before_entry(X86TrapAccess& access, DeviceHost& host) {
  if (!ram_.is_attached()) {
    STASIS_TRY(attach(host.memory()));
  }
  if (!has_told_time_ && mode_ != Mode::kEnded) {
    tell_time(access);
  }
  return plan_interrupt();
}

void LinuxProcess::tell_time(X86TrapAccess& access) {
  has_told_time_ = true;
  CounterTime time;
#if defined(__x86_64__)
  if (const std::optional<X86GuestCounter> counter = access.guest_counter()) {
    time = kernel_->follow_counter(
        [offset = counter->offset] {
          _mm_lfence();  // As the vDSO does: not before what precedes it.
          return __rdtsc() + offset;
        },
        counter->khz);
  }
#else
  static_cast<void>(access);
#endif
  publish(time);
}

void LinuxProcess::publish(const CounterTime& time) {
  stasis_time_page page{};
  if (time.multiplier != 0) {
    page = {.sequence = 0,
            .mode = STASIS_TIME_BY_COUNTER,
            .counter = time.counter,
            .monotonic_ns = time.monotonic_ns,
            .real_ns = time.real_ns,
            .multiplier = time.multiplier};
  }
  space_->write_time_page(page);
}

InterruptPlan LinuxProcess::plan_interrupt() {
  if (mode_ != Mode::kUser || kernel_ == nullptr) {
    return {};  // A trap follows.
  }
  const RunLimit limit = kernel_->run_limit();
  if (interrupt_is_due_) {
    return {.at = host_clock().now(), .on_wake = limit.until_request};
  }
  return {.at = limit.until, .on_wake = limit.until_request};
}

// Where another thread's registers may take the place of these: in ring 3 and outside of our own
// stubs, with nothing on its way that was meant for this thread. An exception that an instruction
// of its own raises as a trap (INT3, INTO, INT n, ICEBP) is not reported by KVM while it is
// pending.
Result<bool> LinuxProcess::is_preemptible(X86TrapAccess& access,
                                          const X86TrapRegisters& registers) {
  constexpr std::uint64_t kTrapFlag = 0x100;
  if ((registers.cs.selector & 3U) != 3 || registers.general.rip >= kUserSpaceEnd ||
      (registers.general.rflags & kTrapFlag) != 0) {
    return false;
  }
  std::byte code{};
  if (space_->read({registers.general.rip}, std::span(&code, 1)) == 1 &&
      (code == std::byte{0xcc} || code == std::byte{0xcd} || code == std::byte{0xce} ||
       code == std::byte{0xf1})) {
    return false;
  }
  return access.is_between_instructions();
}

Result<WriteOutcome> LinuxProcess::on_interrupt(X86TrapAccess& access, DeviceHost& host) {
  if (!ram_.is_attached()) {
    STASIS_TRY(attach(host.memory()));
  }
  interrupt_is_due_ = mode_ != Mode::kUser;
  if (interrupt_is_due_) {
    return WriteOutcome{};  // When it is in ring 3 again.
  }
  STASIS_ASSIGN(const X86TrapRegisters registers, access.registers());
  STASIS_ASSIGN(const bool may_switch, is_preemptible(access, registers));
  if (!may_switch) {
    WriteOutcome later{.interrupt = plan_interrupt()};
    later.interrupt.at = host_clock().now() + kRetryNs;
    return later;
  }
  ++counters_.preemptions;
  Cpu cpu(access, registers);
  STASIS_TRY(deliver_requests());
  const AfterTrap after = kernel_->preempt(cpu);
  if (after == AfterTrap::kContinue && kernel_->wants_request() && !was_ready_) {
    // Others compute on, which may be for ever: it is not going to be quieter.
    was_ready_ = true;
    STASIS_ASSIGN(WriteOutcome outcome,
                  enter_process(cpu, MachineEvent{.kind = MachineEvent::Kind::kReady}));
    outcome.after = AfterWrite::kHold;
    return outcome;
  }
  return proceed(cpu, after);
}

Result<WriteOutcome> LinuxProcess::wait(Cpu& cpu, AfterWrite how,
                                        std::optional<MachineEvent> event) {
  mode_ = Mode::kWaiting;
  user_ = cpu.registers();
  X86TrapRegisters stub = user_;
  stub.general.rip = layout::kWaitEntry;
  stub.general.rflags = 2;
  STASIS_TRY(cpu.enter(stub));
  WriteOutcome outcome{.after = how, .event = std::move(event)};
  if (how == AfterWrite::kPark) {
    outcome.park_until = kernel_->deadline();
  }
  return outcome;
}

MachineEvent LinuxProcess::exit_event() const {
  const ExitStatus& status = kernel_->exit_status();
  if (status.signal != 0) {
    MachineEvent event{.kind = MachineEvent::Kind::kGuestFailed};
    event.value = static_cast<std::uint64_t>(status.signal);
    event.message =
        status.report.empty() ? "killed by signal " + std::to_string(status.signal) : status.report;
    return event;
  }
  MachineEvent event{.kind = MachineEvent::Kind::kExit};
  event.value = static_cast<std::uint64_t>(static_cast<unsigned>(status.code) & 0xffU);
  return event;
}

Result<WriteOutcome> LinuxProcess::end(Cpu& cpu, MachineEvent event) {
  ended_ = std::move(event);
  STASIS_ASSIGN(WriteOutcome outcome, wait(cpu, AfterWrite::kHold, ended_));
  mode_ = Mode::kEnded;
  return outcome;
}

Result<WriteOutcome> LinuxProcess::give_up(Cpu& cpu, std::string message) {
  MachineEvent event{.kind = MachineEvent::Kind::kGuestFailed};
  event.message = std::move(message);
  return end(cpu, std::move(event));
}

Result<void> LinuxProcess::post_request(DeviceHost& host, std::span<const std::byte> request) {
  if (request.size() > kRequestBytesMax) {
    return Error{.code = Errc::kOutOfRange,
                 .message = "a request of " + std::to_string(request.size()) + " bytes: at most " +
                            std::to_string(kRequestBytesMax) + " are possible"};
  }
  {
    const MutexLock lock(mutex_);
    if (requests_.size() >= kQueuedRequestsMax) {
      return Error{.code = Errc::kInvalidArgument,
                   .message = std::to_string(kQueuedRequestsMax) +
                              " requests wait already: take their answers first"};
    }
    requests_.emplace_back(request.begin(), request.end());
  }
  host.wake(0);
  return {};
}

Result<std::vector<std::byte>> LinuxProcess::take_response() {
  const MutexLock lock(mutex_);
  if (responses_.empty()) {
    return Error{.code = Errc::kNotFound, .message = "no response waits"};
  }
  std::vector<std::byte> response = std::move(responses_.front());
  responses_.pop_front();
  return response;
}

std::optional<std::uint64_t> LinuxProcess::first_resumed_counter() const {
  const MutexLock lock(mutex_);
  return first_resumed_;
}

Result<std::uint64_t> LinuxProcess::read(std::uint64_t, std::uint8_t, std::uint32_t, DeviceHost&) {
  return UINT64_MAX;
}

Result<WriteOutcome> LinuxProcess::write(std::uint64_t, std::uint8_t, std::uint64_t, std::uint32_t,
                                         DeviceHost&) {
  return Error{.code = Errc::kNotSupported, .message = "a Linux guest needs trap access"};
}

Result<void> attach_process(DeviceBus& bus, const std::shared_ptr<LinuxProcess>& process) {
  return bus.attach(IoSpace::kPort, layout::kPortBase, layout::kPorts, process);
}

}  // namespace stasis::linux_guest::vm
