#include "core/machine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/machine_state.h"
#include "core/vcpu_thread.h"

namespace stasis {
namespace {

using internal::check_state;
using internal::load_devices;
using internal::Startup;
using internal::VcpuContext;
using internal::VcpuStanding;
using internal::VcpuThread;

Error not_paused(std::string_view what) {
  return Error{Errc::kInvalidArgument, 0,
               std::string(what) + ": the machine is running; pause it first"};
}

VcpuStanding standing_of(const MachineState& state, std::size_t index) {
  return {state.activities[index], state.wake_pending[index]};
}

std::uint32_t count_halted(const MachineState& state) {
  return static_cast<std::uint32_t>(
      std::count(state.activities.begin(), state.activities.end(), VcpuActivity::kHalted));
}

class MachineImpl final : public Machine, private DeviceHost {
 public:
  MachineImpl(HypervisorBackend& backend, std::unique_ptr<GuestMemory> memory,
              std::unique_ptr<DeviceBus> bus, MachineConfig config);
  ~MachineImpl() override;
  MachineImpl(const MachineImpl&) = delete;
  MachineImpl& operator=(const MachineImpl&) = delete;

  // Once, first; on an error the Machine can only be destroyed.
  Result<void> start(MachineShell& shell);

  [[nodiscard]] GuestMemory& memory() override { return *memory_; }
  [[nodiscard]] Vm& vm() override { return *vm_; }
  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] DeviceHost& device_host() override { return *this; }
  [[nodiscard]] std::uint32_t vcpu_count() const override { return config_.vcpus; }

  Result<void> resume() override;
  Result<void> pause(std::chrono::nanoseconds timeout) override;
  [[nodiscard]] bool is_paused() const override { return paused_; }
  Result<MachineEvent> wait_event(std::chrono::nanoseconds timeout) override;
  Result<void> step(std::uint64_t instructions) override;
  [[nodiscard]] Result<MachineState> save_state() override;
  Result<void> load_state(const MachineState& state) override;
  void condemn(Error why) override { condemned_ = std::move(why); }
  void pardon() override { condemned_.reset(); }
  [[nodiscard]] Result<CounterRelation> counter_relation(std::uint32_t vcpu,
                                                         std::chrono::nanoseconds timeout) override;
  Result<void> set_write_fault_handler(WriteFaultHandler* handler) override;
  Result<void> arm_dirty(DirtyTracker& tracker) override;
  Result<GpaRanges> collect_dirty(DirtyTracker& tracker) override;
  Result<void> disarm_dirty(DirtyTracker& tracker) override;
  [[nodiscard]] Counters counters() const override;

 private:
  void wake(std::uint32_t vcpu) override;
  void set_interrupt_line(std::uint32_t line, LineLevel level) override;

  [[nodiscard]] VcpuThread::StartOptions start_options(std::uint32_t index) const;
  Result<void> start_threads(MachineShell& shell);
  Result<void> map_memory();
  Result<void> load_own_state();
  [[nodiscard]] Result<void> check_alive() const;
  [[nodiscard]] Result<void> check_whole() const {
    return condemned_ ? Result<void>(*condemned_) : Result<void>();
  }
  void post_halted();
  void take_standings(const MachineState& state);
  template <typename Task>
  Result<void> on_all_vcpus(Task task);

  // Constant after start().
  const Capabilities capabilities_;
  MachineConfig config_;  // initial_state is dropped when it is loaded.
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<DeviceBus> bus_;
  std::vector<Device*> devices_;
  std::unique_ptr<Vm> vm_;

  // Thread-safe.
  internal::EventQueue events_;
  Startup startup_;
  VcpuContext context_;

  // The owner thread's.
  bool paused_;
  std::optional<Error> condemned_;
  std::vector<std::unique_ptr<VcpuThread>> threads_;  // Last: they end before what they use.
};

MachineImpl::MachineImpl(HypervisorBackend& backend, std::unique_ptr<GuestMemory> memory,
                         std::unique_ptr<DeviceBus> bus, MachineConfig config)
    : capabilities_(backend.capabilities()),
      config_(std::move(config)),
      memory_(std::move(memory)),
      bus_(std::move(bus)),
      devices_(bus_->devices()),
      startup_(config_.vcpus, config_.milestones),
      context_{*bus_, *this, events_, config_.milestones, config_.vcpus},
      paused_(config_.start == StartMode::kPaused) {
  for (Device* const device : devices_) {
    if (TrapHandler* const handler = device->trap_handler(); handler != nullptr) {
      context_.trap_handler = handler;
    }
  }
  if (config_.initial_state) {
    context_.halted.store(count_halted(*config_.initial_state), std::memory_order_relaxed);
  }
  for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
    const VcpuStanding standing =
        config_.initial_state ? standing_of(*config_.initial_state, i) : VcpuStanding{};
    threads_.push_back(std::make_unique<VcpuThread>(i, context_, standing));
  }
}

MachineImpl::~MachineImpl() {
  memory_->on_failure({});
  for (const auto& thread : threads_) {
    thread->stop();  // All at once.
  }
  // All have ended before the first is destroyed: what one still does may wake another.
  for (const auto& thread : threads_) {
    thread->join();
  }
}

VcpuThread::StartOptions MachineImpl::start_options(std::uint32_t index) const {
  VcpuThread::StartOptions options;
  if (!config_.host_cpus.empty()) {
    options.host_cpu = config_.host_cpus[index % config_.host_cpus.size()];
  }
  options.initial_state = config_.initial_state ? &config_.initial_state->vcpus[index] : nullptr;
  options.start = config_.start;
  return options;
}

Result<void> MachineImpl::start_threads(MachineShell& shell) {
  STASIS_ASSIGN(vm_, shell.take_vm());
  for (std::uint32_t i = 1; i < config_.vcpus; ++i) {
    STASIS_TRY(threads_[i]->start(startup_, start_options(i)));
  }
  threads_[0]->adopt(shell.continue_with([this](Result<std::unique_ptr<Vcpu>> first) {
    // Here and not on the owner's thread: registering memory takes the kernel several times as long
    // while another thread creates a vCPU.
    Result<void> mapped = map_memory();
    const bool usable = mapped.has_value();
    startup_.publish_vm(usable ? vm_.get() : nullptr);
    if (usable) {
      threads_[0]->run_on_this_thread(startup_, start_options(0), std::move(first));
    } else {
      first = std::move(mapped).error();  // The vCPU ends on its own thread.
      startup_.arrive(std::move(first).error());
    }
  }));
  return {};
}

Result<void> MachineImpl::map_memory() {
  STASIS_TRY(vm_->map(*memory_, Access::kReadWriteExecute));
  if (config_.milestones != nullptr) {
    config_.milestones->record(Milestone::kMapped);
  }
  return {};
}

// The devices' part of the initial state, while the vCPU threads load theirs.
Result<void> MachineImpl::load_own_state() {
  if (!config_.initial_state) {
    return {};
  }
  STASIS_TRY(load_devices(*config_.initial_state, devices_, vm_->interrupt_controller()));
  startup_.state_loaded();
  return {};
}

Result<void> MachineImpl::start(MachineShell& shell) {
  memory_->on_failure([this] {
    std::ranges::for_each(threads_, [](const auto& thread) { thread->look_at_memory(); });
  });
  if (Result<void> started = start_threads(shell); !started) {
    startup_.publish_vm(nullptr);  // Those that did start give up; the destructor joins them.
    return started;
  }
  startup_.arrive(load_own_state());
  if (!startup_.wait_for_all()) {
    return startup_.failure();
  }
  if (!paused_ && config_.initial_state && count_halted(*config_.initial_state) == config_.vcpus) {
    post_halted();
  }
  config_.initial_state.reset();
  return {};
}

void MachineImpl::wake(std::uint32_t vcpu) {
  if (vcpu < threads_.size()) {
    threads_[vcpu]->wake();
  }
}

// A line that is not there, or a hypervisor that fails, shows as a guest that waits for ever and as
// a vCPU that cannot go on: a device has nobody to tell.
void MachineImpl::set_interrupt_line(std::uint32_t line, LineLevel level) {
  if (InterruptController* const controller = vm_->interrupt_controller()) {
    static_cast<void>(controller->set_line(line, level));
  }
}

Result<void> MachineImpl::check_alive() const {
  STASIS_TRY(check_whole());
  for (const auto& thread : threads_) {
    if (std::optional<Error> failure = thread->failure()) {
      return *std::move(failure);
    }
  }
  return {};
}

Result<void> MachineImpl::resume() {
  STASIS_TRY(check_alive());
  // Relaxed: changed by vCPU threads only while they run, and all have been paused since.
  if (paused_ && context_.halted.load(std::memory_order_relaxed) == config_.vcpus) {
    post_halted();
  }
  paused_ = false;
  for (const auto& thread : threads_) {
    thread->allow_run(VcpuThread::Hold::kRelease);
  }
  return {};
}

void MachineImpl::post_halted() {
  events_.post({MachineEvent::Kind::kHalted, 0, 0, host_clock().now()});
}

Result<void> MachineImpl::pause(std::chrono::nanoseconds timeout) {
  const auto deadline = deadline_after(timeout);
  for (const auto& thread : threads_) {
    thread->forbid_run();
  }
  std::string late;
  for (std::uint32_t i = 0; i < config_.vcpus; ++i) {
    if (!threads_[i]->wait_outside(deadline)) {
      late += (late.empty() ? "" : ", ") + std::to_string(i);
    }
  }
  if (!late.empty()) {
    for (const auto& thread : threads_) {
      thread->allow_run(VcpuThread::Hold::kKeep);
    }
    return Error{
        Errc::kTimeout, 0,
        "pause: not out of the guest after " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count()) +
            " ms: vCPU " + late + " (in a device or in the hypervisor)"};
  }
  paused_ = true;
  return {};
}

Result<MachineEvent> MachineImpl::wait_event(std::chrono::nanoseconds timeout) {
  std::optional<MachineEvent> event =
      paused_ ? events_.take() : events_.wait(deadline_after(timeout));
  if (event) {
    return *std::move(event);
  }
  if (paused_) {
    return Error{Errc::kInvalidArgument, 0,
                 "wait for an event: the machine is paused, so none can come; resume it first"};
  }
  return Error{Errc::kTimeout, 0, "wait for an event: none came in time"};
}

Result<void> MachineImpl::step(std::uint64_t instructions) {
  if (!capabilities_.instruction_budget) {
    return Error{Errc::kNotSupported, 0,
                 "step: the backend " + std::string(name_of(capabilities_.kind)) +
                     " cannot count instructions"};
  }
  if (!paused_) {
    return not_paused("step");
  }
  STASIS_TRY(check_alive());
  for (const auto& thread : threads_) {
    thread->release_hold();
  }
  for (const auto& thread : threads_) {
    thread->step(instructions);
    if (thread->is_held()) {
      break;
    }
  }
  return {};
}

// Executes task(index, vcpu) on each vCPU's own thread, all at the same time.
template <typename Task>
Result<void> MachineImpl::on_all_vcpus(Task task) {
  std::vector<Result<void>> outcomes(threads_.size());
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->post([&task, &outcomes, i](Vcpu& vcpu) { outcomes[i] = task(i, vcpu); });
  }
  for (const auto& thread : threads_) {
    thread->wait_done();
  }
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (!outcomes[i]) {
      return std::move(outcomes[i]).error().with_context("vCPU " + std::to_string(i));
    }
  }
  return {};
}

Result<MachineState> MachineImpl::save_state() {
  if (!paused_) {
    return not_paused("save the state");
  }
  STASIS_TRY(check_whole());
  MachineState state;
  state.vcpus.resize(threads_.size());
  STASIS_TRY(on_all_vcpus([&state](std::size_t i, Vcpu& vcpu) -> Result<void> {
    STASIS_ASSIGN(state.vcpus[i], vcpu.save_state());
    return {};
  }));
  for (const auto& thread : threads_) {
    const VcpuStanding standing = thread->standing();
    state.activities.push_back(standing.activity);
    state.wake_pending.push_back(standing.wake_pending);
  }
  for (const Device* device : devices_) {
    Result<DeviceState> saved = device->save_state();
    if (!saved) {
      return std::move(saved).error().with_context("device '" + std::string(device->name()) + "'");
    }
    state.devices.push_back(*std::move(saved));
  }
  if (const InterruptController* const controller = vm_->interrupt_controller()) {
    Result<DeviceState> saved = controller->save_state();
    if (!saved) {
      return std::move(saved).error().with_context("interrupt controller");
    }
    state.devices.push_back(*std::move(saved));
  }
  return state;
}

Result<void> MachineImpl::load_state(const MachineState& state) {
  if (!paused_) {
    return not_paused("load a state");
  }
  STASIS_TRY(check_state(state, config_.vcpus, devices_, config_.interrupt_controller));
  STASIS_TRY(on_all_vcpus(
      [&state](std::size_t i, Vcpu& vcpu) { return vcpu.load_state(state.vcpus[i]); }));
  STASIS_TRY(load_devices(state, devices_, vm_->interrupt_controller()));
  take_standings(state);
  events_.clear();
  if (config_.milestones != nullptr) {
    config_.milestones->record(Milestone::kState);
  }
  return {};
}

void MachineImpl::take_standings(const MachineState& state) {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->set_standing(standing_of(state, i));
  }
  context_.halted.store(count_halted(state), std::memory_order_relaxed);
}

Result<CounterRelation> MachineImpl::counter_relation(std::uint32_t vcpu,
                                                      std::chrono::nanoseconds timeout) {
  if (vcpu >= threads_.size()) {
    return Error{Errc::kInvalidArgument, 0,
                 "counter of vCPU " + std::to_string(vcpu) + ": the machine has " +
                     std::to_string(threads_.size())};
  }
  std::optional<Result<CounterRelation>> answer;
  const auto ask = [&answer](Vcpu& its_vcpu) { answer = its_vcpu.counter_relation(); };
  if (!threads_[vcpu]->interrupt_for(ask, deadline_after(timeout))) {
    return Error{
        Errc::kTimeout, 0,
        "counter of vCPU " + std::to_string(vcpu) + ": it is not out of the guest in time"};
  }
  return *std::move(answer);
}

Result<void> MachineImpl::set_write_fault_handler(WriteFaultHandler* handler) {
  if (!paused_) {
    return not_paused("set the write-fault handler");
  }
  for (const auto& thread : threads_) {
    thread->set_write_fault_handler(handler);
  }
  return {};
}

Result<void> MachineImpl::arm_dirty(DirtyTracker& tracker) {
  if (!paused_) {
    return not_paused("arm a dirty tracker");
  }
  STASIS_TRY(tracker.arm());
  memory_->host_writes().clear();
  return set_write_fault_handler(tracker.write_fault_handler());
}

Result<GpaRanges> MachineImpl::collect_dirty(DirtyTracker& tracker) {
  if (!paused_) {
    return not_paused("collect dirty pages");
  }
  STASIS_ASSIGN(GpaRanges guest, tracker.collect());
  const GpaRanges host = memory_->host_writes().collect();
  if (tracker.traits().sees_host_writes) {
    return guest;
  }
  // A unit of a coarse tracker may reach beyond the end of memory.
  return unite(
      guest, intersect(align_outward(host, tracker.traits().granularity_bytes), memory_->ranges()));
}

Result<void> MachineImpl::disarm_dirty(DirtyTracker& tracker) {
  if (!paused_) {
    return not_paused("disarm a dirty tracker");
  }
  STASIS_TRY(tracker.disarm());
  return set_write_fault_handler(nullptr);
}

Machine::Counters MachineImpl::counters() const {
  Counters sum;
  for (const auto& thread : threads_) {
    const Counters one = thread->counters();
    sum.io_exits += one.io_exits;
    sum.unclaimed_accesses += one.unclaimed_accesses;
    sum.write_faults += one.write_faults;
    sum.cancels += one.cancels;
    sum.interrupts += one.interrupts;
    sum.entries += one.entries;
  }
  return sum;
}

Result<void> check_limits(const Capabilities& capabilities, std::uint32_t vcpus) {
  if (vcpus == 0 || vcpus > capabilities.vcpus_max) {
    return Error{Errc::kInvalidArgument, 0,
                 std::to_string(vcpus) + " vCPUs: between 1 and " +
                     std::to_string(capabilities.vcpus_max) +
                     " are possible (the design's limit is " + std::to_string(kVcpusMax) +
                     ", this host's is " + std::to_string(capabilities.host_vcpus_max) + ")"};
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(HypervisorBackend& backend,
                                                 std::unique_ptr<GuestMemory> memory,
                                                 std::unique_ptr<DeviceBus> bus,
                                                 MachineConfig config,
                                                 std::unique_ptr<MachineShell> shell) {
  STASIS_CHECK(memory != nullptr && bus != nullptr);
  // Before any thread exists: a hostile number of vCPUs must not become that many threads.
  STASIS_TRY(check_limits(backend.capabilities(), config.vcpus));
  if (config.initial_state) {
    STASIS_TRY(check_state(*config.initial_state, config.vcpus, bus->devices(),
                           config.interrupt_controller));
  }
  if (shell == nullptr) {
    ShellConfig begin{.vcpus_max = config.vcpus,
                      .dirty_ring_entries = config.dirty_ring_entries,
                      .interrupt_controller = config.interrupt_controller,
                      .milestones = config.milestones};
    if (!config.host_cpus.empty()) {
      begin.host_cpu = config.host_cpus.front();
    }
    shell = MachineShell::begin(backend, begin);
  }
  auto machine =
      std::make_unique<MachineImpl>(backend, std::move(memory), std::move(bus), std::move(config));
  STASIS_TRY(machine->start(*shell));
  return std::unique_ptr<Machine>(std::move(machine));
}

}  // namespace stasis
