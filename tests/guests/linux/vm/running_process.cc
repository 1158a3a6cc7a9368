#include "tests/guests/linux/vm/running_process.h"

#include <cstring>
#include <utility>

#include "guests/memory_layout.h"

namespace stasis::linux_guest::vm {
namespace {

ProcessHost host_of(const KernelFactory& kernel, const std::shared_ptr<Captured>& output) {
  return {.make_kernel = kernel,
          .output = [output](int, std::string_view text) { output->append(text); }};
}

Result<std::unique_ptr<GuestMemory>> make_memory(std::uint64_t bytes) {
  STASIS_ASSIGN(const std::vector<RegionSpec> specs, guests::guest_memory_regions(bytes));
  return GuestMemory::create(specs, kPageBytes);
}

}  // namespace

guests::X86Features features_of(const HypervisorBackend& backend) {
  return guests::x86_features(backend.capabilities().cpu_features);
}

Result<std::unique_ptr<RunningProcess>> RunningProcess::start(HypervisorBackend& backend,
                                                              const std::string& program,
                                                              const RunOptions& options) {
  auto running = std::make_unique<RunningProcess>();
  ProcessOptions process_options;
  process_options.kernel.executable = program;
  process_options.kernel.allow_read = options.allow_read;
  process_options.kernel.arguments = {program};
  for (const std::string& argument : options.arguments) {
    process_options.kernel.arguments.push_back(argument);
  }
  process_options.kernel.environment = options.environment;
  process_options.memory_bytes = options.memory_bytes;
  process_options.layout_seed = options.layout_seed;
  process_options.features = features_of(backend);
  STASIS_ASSIGN(std::unique_ptr<GuestMemory> memory, make_memory(options.memory_bytes));
  STASIS_ASSIGN(running->process_, LinuxProcess::create(host_of(options.kernel, running->output_),
                                                        process_options, *memory));
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(attach_process(*bus, running->process_));
  MachineConfig config;
  config.start = StartMode::kRunning;
  config.initial_state = running->process_->start();
  STASIS_ASSIGN(running->machine_,
                Machine::create(backend, std::move(memory), std::move(bus), std::move(config)));
  return running;
}

Result<std::unique_ptr<RunningProcess>> RunningProcess::clone(HypervisorBackend& backend,
                                                              const KernelFactory& kernel) {
  STASIS_ASSIGN(MachineState state, machine_->save_state());
  auto running = std::make_unique<RunningProcess>();
  STASIS_ASSIGN(std::unique_ptr<GuestMemory> memory, make_memory(machine_->memory().size_bytes()));
  for (const MemoryRegion& region : machine_->memory().regions()) {
    STASIS_ASSIGN(const std::span<std::byte> out, memory->writable_view(region.range));
    std::memcpy(out.data(), region.host, out.size());
  }
  running->process_ = LinuxProcess::create_for_restore(host_of(kernel, running->output_));
  running->output_->append(output());
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(attach_process(*bus, running->process_));
  MachineConfig config;
  config.start = StartMode::kRunning;
  config.initial_state = std::move(state);
  STASIS_ASSIGN(running->machine_,
                Machine::create(backend, std::move(memory), std::move(bus), std::move(config)));
  return running;
}

Result<std::uint64_t> RunningProcess::run_to_exit() {
  for (;;) {
    if (machine_->is_paused()) {
      STASIS_TRY(machine_->resume());
    }
    STASIS_ASSIGN(const MachineEvent event, next_event());
    if (event.kind == MachineEvent::Kind::kExit) {
      return event.value;
    }
    if (event.kind == MachineEvent::Kind::kGuestFailed ||
        event.kind == MachineEvent::Kind::kHostFailed) {
      return Error{Errc::kGuestFault, 0, event.message};
    }
    STASIS_TRY(machine_->resume());
  }
}

Result<std::vector<std::byte>> RunningProcess::request(std::span<const std::byte> bytes) {
  STASIS_TRY(process_->post_request(machine_->device_host(), bytes));
  STASIS_TRY(machine_->resume());
  for (;;) {
    STASIS_ASSIGN(const MachineEvent event, next_event());
    if (event.kind == MachineEvent::Kind::kResponse) {
      return process_->take_response();
    }
    if (event.kind != MachineEvent::Kind::kReady) {
      return Error{Errc::kGuestFault, 0, std::string(name_of(event.kind)) + ": " + event.message};
    }
    STASIS_TRY(machine_->resume());
  }
}

}  // namespace stasis::linux_guest::vm
