// Session::launch: from a guest program to a running machine.
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "guests/abi.h"
#include "guests/guest_files.h"
#include "guests/loader.h"
#include "guests/memory_layout.h"
#include "session/kernel_guest.h"
#include "session/session_impl.h"
#include "session/toy_guests.h"

namespace stasis::session {

namespace {

constexpr std::string_view kToyPrefix = "toy:";

// What a backend needs to start a guest.
struct Loaded {
  std::unique_ptr<GuestMemory> memory;
  internal::Devices devices;
  MachineState state;
  std::string label;
  InterruptControllerKind interrupt_controller = InterruptControllerKind::kNone;
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

Result<std::unique_ptr<GuestMemory>> make_memory(const Capabilities& capabilities,
                                                 const LaunchOptions& options) {
  STASIS_ASSIGN(
      const std::vector<RegionSpec> specs,
      guests::guest_memory_regions(options.memory_bytes,
                                   {.backing = options.backing, .huge_pages = options.huge_pages}));
  return GuestMemory::create(specs, capabilities.page_size_bytes);
}

Result<void> check_architecture(const Capabilities& capabilities, const std::string& guest,
                                Architecture architecture) {
  if (architecture != capabilities.architecture) {
    return Error{Errc::kMismatch, 0,
                 "guest '" + guest + "' is a program for " + std::string(name_of(architecture)) +
                     ", but the backend '" + std::string(name_of(capabilities.kind)) + "' runs " +
                     std::string(name_of(capabilities.architecture))};
  }
  return {};
}

Result<Loaded> load_bare(const Capabilities& capabilities, const LaunchOptions& options,
                         const std::shared_ptr<internal::ConsoleBuffer>& console) {
  Loaded loaded;
  STASIS_ASSIGN(loaded.memory, make_memory(capabilities, options));
  guests::LoadedGuest guest;
  if (options.guest.rfind(kToyPrefix, 0) == 0) {
    loaded.label = options.guest;
    STASIS_ASSIGN(guest, load_toy_guest(options.guest.substr(kToyPrefix.size()), *loaded.memory,
                                        options.vcpus));
  } else {
    STASIS_ASSIGN(const std::filesystem::path path, guests::find_guest(options.guest));
    STASIS_ASSIGN(const std::vector<std::byte> image, guests::read_guest_image(path));
    loaded.label = path.filename().string();
    guests::LoadOptions load_options;
    load_options.name = path.string();
    load_options.vcpus = options.vcpus;
    load_options.arguments = joined(options.arguments);
    load_options.cpu_features = capabilities.cpu_features;
    STASIS_ASSIGN(guest, guests::load_guest(image, *loaded.memory, load_options));
  }
  STASIS_TRY(check_architecture(capabilities, options.guest, guest.architecture));
  STASIS_ASSIGN(loaded.devices, internal::make_doorbell_devices(guest.architecture, console));
  STASIS_ASSIGN(loaded.state, guests::initial_machine_state(guest, *loaded.devices.bus));
  return loaded;
}

// The path without symbolic links.
Result<std::string> canonical(const std::string& path, std::string_view what) {
  std::error_code failure;
  std::string found = std::filesystem::canonical(path, failure).string();
  if (failure) {
    return Error{Errc::kNotFound, failure.value(),
                 std::string(what) + " '" + path + "': " + failure.message()};
  }
  return found;
}

Result<linux_guest::vm::ProcessOptions> process_options(const Capabilities& capabilities,
                                                        const LaunchOptions& options) {
  const LinuxOptions& wanted = *options.linux_program;
  linux_guest::vm::ProcessOptions process;
  STASIS_ASSIGN(process.kernel.executable, canonical(wanted.program, "program"));
  for (const std::string& path : wanted.allow_read) {
    STASIS_ASSIGN(std::string allowed, canonical(path, "--allow-read"));
    process.kernel.allow_read.push_back(std::move(allowed));
  }
  process.kernel.arguments = {wanted.program};
  process.kernel.arguments.insert(process.kernel.arguments.end(), options.arguments.begin(),
                                  options.arguments.end());
  process.kernel.environment = wanted.environment;
  process.kernel.working_directory = wanted.working_directory;
  process.memory_bytes = options.memory_bytes;
  process.layout_seed = wanted.layout_seed;
  process.features = guests::x86_features(capabilities.cpu_features);
  return process;
}

Result<Loaded> load_linux(const Capabilities& capabilities, const LaunchOptions& options,
                          const std::shared_ptr<internal::ConsoleBuffer>& console) {
  STASIS_TRY(
      check_architecture(capabilities, options.linux_program->program, Architecture::kX86_64));
  if (options.vcpus != 1) {
    return Error{Errc::kInvalidArgument, 0,
                 "a Linux guest has one vCPU, on which its threads take turns; " +
                     std::to_string(options.vcpus) + " were asked for"};
  }
  STASIS_ASSIGN(const linux_guest::vm::ProcessOptions process_options_value,
                process_options(capabilities, options));
  Loaded loaded;
  loaded.label = std::filesystem::path(process_options_value.kernel.executable).filename();
  STASIS_ASSIGN(loaded.memory, make_memory(capabilities, options));
  STASIS_ASSIGN(
      std::shared_ptr<linux_guest::vm::LinuxProcess> process,
      linux_guest::vm::LinuxProcess::create(internal::linux_host(console, StaleFiles::kRefuse),
                                            process_options_value, *loaded.memory));
  loaded.state = process->start();
  STASIS_ASSIGN(loaded.devices, internal::make_linux_devices(process));
  return loaded;
}

Result<Loaded> load_any(const Capabilities& capabilities, const LaunchOptions& options,
                        const std::shared_ptr<internal::ConsoleBuffer>& console) {
  if (options.linux_program) {
    return load_linux(capabilities, options, console);
  }
  if (!options.kernel) {
    return load_bare(capabilities, options, console);
  }
  STASIS_ASSIGN(internal::LoadedKernel kernel,
                internal::load_kernel(capabilities, options, console));
  return Loaded{std::move(kernel.memory), std::move(kernel.devices), std::move(kernel.state),
                "linux", InterruptControllerKind::kGicV3};
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
  parts.console = std::make_shared<internal::ConsoleBuffer>(kConsoleBytesMax, options.console);
  STASIS_ASSIGN(Loaded loaded, load_any(capabilities, options, parts.console));
  parts.port = std::move(loaded.devices.port);
  parts.labels = {{.key = "guest", .value = loaded.label}};
  if (!options.arguments.empty()) {
    parts.labels.push_back({.key = "arguments", .value = joined(options.arguments)});
  }
  MachineConfig config;
  config.vcpus = options.vcpus;
  config.start = StartMode::kRunning;
  config.host_cpus = options.host_cpus;
  config.initial_state = std::move(loaded.state);
  config.milestones = parts.milestones.get();
  config.interrupt_controller = loaded.interrupt_controller;
  STASIS_ASSIGN(config.dirty_ring_entries,
                snapshot::ring_entries_for(options.tracker, capabilities, options.tracker_options));
  STASIS_ASSIGN(std::unique_ptr<Machine> machine,
                Machine::create(backend, std::move(loaded.memory), std::move(loaded.devices.bus),
                                std::move(config)));
  return std::unique_ptr<Session>(
      std::make_unique<internal::SessionImpl>(std::move(parts), std::move(machine)));
}

}  // namespace stasis::session
