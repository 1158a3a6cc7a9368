#include "tests/guests/running_guest.h"

#include <span>
#include <utility>
#include <vector>

#include "guests/guest_files.h"
#include "guests/loader.h"
#include "guests/memory_layout.h"

namespace stasis::guests::test {

Result<RunningGuest> RunningGuest::start(HypervisorBackend& backend, const GuestOptions& options) {
  RunningGuest guest;
  guest.backend_ = &backend;
  guest.memory_bytes_ = options.memory_mib * abi::kMiB;
  STASIS_ASSIGN(const std::vector<RegionSpec> specs, guest_memory_regions(guest.memory_bytes_));
  STASIS_ASSIGN(auto memory, GuestMemory::create(specs, 4096));
  STASIS_ASSIGN(const std::filesystem::path path, find_guest(options.guest));
  STASIS_ASSIGN(const std::vector<std::byte> image, read_guest_image(path));
  LoadOptions load;
  load.name = options.guest;
  load.vcpus = options.vcpus;
  load.arguments = options.arguments;
  load.cpu_features = backend.capabilities().cpu_features;
  STASIS_ASSIGN(const LoadedGuest loaded, load_guest(image, *memory, load));
  guest.make_doorbell();
  STASIS_ASSIGN(const auto bus, make_bus(guest.doorbell_));
  STASIS_ASSIGN(MachineState state, initial_machine_state(loaded, *bus));
  STASIS_TRY(guest.make_machine(std::move(memory), std::move(state)));
  return guest;
}

void RunningGuest::make_doorbell() {
  DoorbellConfig config;
  config.console = [console = console_](std::string_view text) { console->add(text); };
  doorbell_ = std::make_shared<DoorbellDevice>(config);
}

Result<std::unique_ptr<DeviceBus>> RunningGuest::make_bus(
    std::shared_ptr<DoorbellDevice> doorbell) {
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(attach_doorbell(*bus, doorbell, Architecture::kX86_64));
  return bus;
}

Result<void> RunningGuest::make_machine(std::unique_ptr<GuestMemory> memory, MachineState state) {
  STASIS_ASSIGN(auto bus, make_bus(doorbell_));
  MachineConfig config;
  config.vcpus = static_cast<std::uint32_t>(state.vcpus.size());
  config.start = StartMode::kPaused;
  config.initial_state = std::move(state);
  STASIS_ASSIGN(machine_,
                Machine::create(*backend_, std::move(memory), std::move(bus), std::move(config)));
  return {};
}

Result<MachineEvent> RunningGuest::next_event() {
  STASIS_TRY(machine_->resume());
  return machine_->wait_event(kPatience);
}

Result<MachineEvent> RunningGuest::run_until(MachineEvent::Kind kind) {
  STASIS_ASSIGN(MachineEvent event, next_event());
  if (event.kind != kind) {
    return Error{.code = Errc::kGuestFault,
                 .message = "expected the event " + std::string(name_of(kind)) + ", got " +
                            std::string(name_of(event.kind)) + " " + std::to_string(event.value) +
                            ": " + event.message + "\n" + console()};
  }
  return event;
}

Result<std::string> RunningGuest::ask(std::string_view request) {
  STASIS_TRY(doorbell_->post_request(machine_->device_host(), request));
  STASIS_TRY(run_until(MachineEvent::Kind::kResponse));
  STASIS_ASSIGN(const std::vector<std::byte> response, doorbell_->take_response());
  return std::string(reinterpret_cast<const char*>(response.data()), response.size());
}

Result<MachineState> RunningGuest::pause_and_save() {
  STASIS_TRY(machine_->pause(kPatience));
  return machine_->save_state();
}

Result<RunningGuest> RunningGuest::start_copy(const MachineState& state) {
  RunningGuest copy;
  copy.backend_ = backend_;
  copy.memory_bytes_ = memory_bytes_;
  STASIS_ASSIGN(const std::vector<RegionSpec> specs, guest_memory_regions(memory_bytes_));
  STASIS_ASSIGN(auto memory, GuestMemory::create(specs, 4096));
  for (const MemoryRegion& region : machine_->memory().regions()) {
    STASIS_TRY(memory->write(region.range.begin, std::span(region.host, region.range.size)));
  }
  copy.make_doorbell();
  STASIS_TRY(copy.make_machine(std::move(memory), state));
  return copy;
}

Result<RunningGuest> RunningGuest::clone() {
  STASIS_ASSIGN(const MachineState state, pause_and_save());
  return start_copy(state);
}

}  // namespace stasis::guests::test
