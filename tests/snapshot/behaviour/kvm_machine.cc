#include "tests/snapshot/behaviour/kvm_machine.h"

#include <chrono>
#include <utility>

#include "guests/guest_files.h"
#include "guests/loader.h"
#include "guests/memory_layout.h"

namespace stasis::snapshot::testing {

GuestBus make_guest_bus(Architecture architecture) {
  GuestBus result;
  result.console = std::make_shared<Console>();
  guests::DoorbellConfig config;
  config.architecture = architecture;
  config.console = [console = result.console](std::string_view text) { console->append(text); };
  result.doorbell = std::make_shared<guests::DoorbellDevice>(std::move(config));
  result.bus = std::make_unique<DeviceBus>();
  STASIS_CHECK(guests::attach_doorbell(*result.bus, result.doorbell, architecture).has_value());
  return result;
}

Result<GuestMachine> launch_guest(HypervisorBackend& backend, const GuestOptions& options) {
  const Capabilities& capabilities = backend.capabilities();
  STASIS_ASSIGN(
      const std::vector<RegionSpec> regions,
      guests::guest_memory_regions(options.memory_bytes, {options.backing, options.huge_pages}));
  STASIS_ASSIGN(auto memory, GuestMemory::create(regions, capabilities.page_size_bytes));
  STASIS_ASSIGN(const auto path, guests::find_guest(options.guest));
  STASIS_ASSIGN(const auto image, guests::read_guest_image(path));
  guests::LoadOptions load;
  load.name = options.guest;
  load.vcpus = options.vcpus;
  load.arguments = options.arguments;
  load.cpu_features = capabilities.cpu_features;
  STASIS_ASSIGN(const guests::LoadedGuest loaded, guests::load_guest(image, *memory, load));
  GuestBus bus = make_guest_bus(loaded.architecture);
  MachineConfig config;
  config.vcpus = options.vcpus;
  STASIS_ASSIGN(config.initial_state, guests::initial_machine_state(loaded, *bus.bus));
  GuestMachine result;
  result.console = bus.console;
  result.doorbell = bus.doorbell;
  STASIS_ASSIGN(result.machine,
                Machine::create(backend, std::move(memory), std::move(bus.bus), std::move(config)));
  return result;
}

Result<MachineEvent> run_to_event(Machine& machine) {
  STASIS_TRY(machine.resume());
  STASIS_ASSIGN(const MachineEvent event, machine.wait_event(std::chrono::seconds(30)));
  STASIS_TRY(machine.pause(std::chrono::seconds(30)));
  if (event.kind == MachineEvent::Kind::kGuestFailed ||
      event.kind == MachineEvent::Kind::kHostFailed) {
    return Error{Errc::kGuestFault, 0, event.message};
  }
  return event;
}

MachineState without_time(MachineState state) {
  for (VcpuState& vcpu : state.vcpus) {
    if (auto* x86 = std::get_if<X86VcpuState>(&vcpu)) {
      x86->tsc = 0;
    }
  }
  return state;
}

}  // namespace stasis::snapshot::testing
