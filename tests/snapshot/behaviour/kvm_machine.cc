#include "tests/snapshot/behaviour/kvm_machine.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <utility>

#include "core/text.h"
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

namespace {

void compare_images(const std::vector<std::byte>& one, const std::vector<std::byte>& other,
                    std::ostream& out) {
  for (std::size_t i = 0; i < std::min(one.size(), other.size()); ++i) {
    if (one[i] != other[i]) {
      out << " xsave[" << i << "]: " << std::to_integer<int>(one[i]) << " and "
          << std::to_integer<int>(other[i]);
    }
  }
}

void compare_msrs(const std::vector<X86Msr>& one, const std::vector<X86Msr>& other,
                  std::ostream& out) {
  for (std::size_t i = 0; i < std::min(one.size(), other.size()); ++i) {
    if (one[i] != other[i]) {
      out << " MSR " << hex(one[i].index) << " = " << hex(one[i].value) << " and "
          << hex(other[i].index) << " = " << hex(other[i].value);
    }
  }
}

void compare(const X86VcpuState& one, const X86VcpuState& other, std::ostream& out) {
  const auto say = [&out](bool same, std::string_view what) { out << (same ? "" : what); };
  say(one.general == other.general, " general registers");
  if (one.general != other.general) {
    out << " (rip " << hex(one.general.rip) << " and " << hex(other.general.rip) << ", rflags "
        << hex(one.general.rflags) << " and " << hex(other.general.rflags) << ")";
  }
  say(one.system == other.system, " system registers");
  if (one.system.cr2 != other.system.cr2) {
    out << " (cr2 " << hex(one.system.cr2) << " and " << hex(other.system.cr2) << ")";
  }
  say(one.debug == other.debug, " debug registers");
  say(one.events == other.events, " events");
  say(one.mp_state == other.mp_state, " multiprocessor state");
  say(one.xsave.size() == other.xsave.size(), " size of the XSAVE image");
  compare_images(one.xsave, other.xsave, out);
  say(one.xcrs == other.xcrs, " XCRs");
  say(one.msrs.size() == other.msrs.size(), " number of MSRs");
  compare_msrs(one.msrs, other.msrs, out);
  say(one.cpuid == other.cpuid, " CPUID");
  say(one.tsc_khz == other.tsc_khz, " TSC frequency");
}

}  // namespace

std::string difference(const MachineState& one, const MachineState& other) {
  if (one.vcpus.size() != other.vcpus.size()) {
    return "the number of vCPUs";
  }
  std::ostringstream out;
  for (std::size_t i = 0; i < one.vcpus.size(); ++i) {
    const auto* const here = std::get_if<X86VcpuState>(&one.vcpus[i]);
    const auto* const there = std::get_if<X86VcpuState>(&other.vcpus[i]);
    if (one.vcpus[i] != other.vcpus[i]) {
      out << "vCPU " << i << ":";
      if (here != nullptr && there != nullptr) {
        compare(*here, *there, out);
      }
      out << '\n';
    }
  }
  return out.str();
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
