// Session::launch: from a guest program to a running machine.
#include <unistd.h>

#include <utility>

#include "guests/guest_files.h"
#include "guests/loader.h"
#include "guests/memory_layout.h"
#include "session/session_impl.h"
#include "session/toy_guests.h"

namespace stasis::session {

namespace {

constexpr std::string_view kToyPrefix = "toy:";

// What a backend needs to start a guest. Value.
struct Loaded {
  std::unique_ptr<GuestMemory> memory;
  guests::LoadedGuest guest;
  std::string label;
};

std::string joined(const std::vector<std::string>& arguments) {
  std::string text;
  for (const std::string& argument : arguments) {
    text += (text.empty() ? "" : " ") + argument;
  }
  return text;
}

std::string mib(std::uint64_t bytes) {
  return std::to_string(bytes >> 20U) + " MiB";
}

// The backend would refuse too many vCPUs as well, but only after the guest has been loaded.
Result<void> check_limits(const Capabilities& capabilities, const LaunchOptions& options) {
  if (options.vcpus < 1 || options.vcpus > capabilities.vcpus_max) {
    return Error{Errc::kInvalidArgument, 0,
                 std::to_string(options.vcpus) + " vCPUs: at least 1 and at most " +
                     std::to_string(kVcpusMax) + " by design, and " +
                     std::to_string(capabilities.host_vcpus_max) + " on this host"};
  }
  const auto page_size = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t host_bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * page_size;
  if (options.memory_bytes > abi::kMemoryBytesMax || options.memory_bytes > host_bytes) {
    return Error{Errc::kInvalidArgument, 0,
                 "memory of " + mib(options.memory_bytes) + ": at most " +
                     mib(abi::kMemoryBytesMax) + " by design, and this host has " +
                     mib(host_bytes)};
  }
  return {};
}

Result<Loaded> load(const Capabilities& capabilities, const LaunchOptions& options) {
  STASIS_ASSIGN(
      const std::vector<RegionSpec> specs,
      guests::guest_memory_regions(options.memory_bytes,
                                   {.backing = options.backing, .huge_pages = options.huge_pages}));
  Loaded loaded;
  STASIS_ASSIGN(loaded.memory, GuestMemory::create(specs, capabilities.page_size_bytes));
  if (options.guest.rfind(kToyPrefix, 0) == 0) {
    loaded.label = options.guest;
    STASIS_ASSIGN(loaded.guest, load_toy_guest(options.guest.substr(kToyPrefix.size()),
                                               *loaded.memory, options.vcpus));
  } else {
    STASIS_ASSIGN(const std::filesystem::path path, guests::find_guest(options.guest));
    STASIS_ASSIGN(const std::vector<std::byte> image, guests::read_guest_image(path));
    loaded.label = path.filename().string();
    guests::LoadOptions load_options;
    load_options.name = path.string();
    load_options.vcpus = options.vcpus;
    load_options.arguments = joined(options.arguments);
    load_options.cpu_features = capabilities.cpu_features;
    STASIS_ASSIGN(loaded.guest, guests::load_guest(image, *loaded.memory, load_options));
  }
  if (loaded.guest.architecture != capabilities.architecture) {
    return Error{Errc::kMismatch, 0,
                 "guest '" + options.guest + "' is a program for " +
                     std::string(name_of(loaded.guest.architecture)) + ", but the backend '" +
                     std::string(name_of(capabilities.kind)) + "' runs " +
                     std::string(name_of(capabilities.architecture))};
  }
  return loaded;
}

}  // namespace

Result<std::unique_ptr<Session>> Session::launch(HypervisorBackend& backend,
                                                 const LaunchOptions& options) {
  const Capabilities& capabilities = backend.capabilities();
  STASIS_TRY(check_limits(capabilities, options));

  internal::SessionImpl::Parts parts;
  parts.usage = internal::process_usage();
  parts.milestones = std::make_unique<MilestoneLog>();
  parts.milestones->record(Milestone::kBegin);
  parts.anchor = take_tsc_anchor();
  STASIS_ASSIGN(Loaded loaded, load(capabilities, options));

  parts.console = std::make_shared<internal::ConsoleBuffer>(kConsoleBytesMax, options.console);
  STASIS_ASSIGN(auto devices,
                internal::make_devices(loaded.guest.architecture, parts.console, parts.doorbell));
  STASIS_ASSIGN(MachineState state, guests::initial_machine_state(loaded.guest, *devices));
  parts.labels = {{.key = "guest", .value = loaded.label}};
  if (!options.arguments.empty()) {
    parts.labels.push_back({.key = "arguments", .value = joined(options.arguments)});
  }
  MachineConfig config;
  config.vcpus = options.vcpus;
  config.start = StartMode::kRunning;
  config.host_cpus = options.host_cpus;
  config.initial_state = std::move(state);
  config.milestones = parts.milestones.get();
  STASIS_ASSIGN(
      std::unique_ptr<Machine> machine,
      Machine::create(backend, std::move(loaded.memory), std::move(devices), std::move(config)));
  return std::unique_ptr<Session>(
      std::make_unique<internal::SessionImpl>(std::move(parts), std::move(machine)));
}

}  // namespace stasis::session
