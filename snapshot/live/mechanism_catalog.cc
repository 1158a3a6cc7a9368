#include "snapshot/live/mechanism_catalog.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "snapshot/live/frozen_memory.h"
#include "snapshot/live/mechanism_factories.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot {
namespace {

constexpr std::string_view kAuto = "auto";
// In the order of the list in the header.
constexpr std::array<std::string_view, 3> kNames{"userfaultfd", "fork", "protection"};

#if !defined(__linux__)
Availability on_linux_only(std::string_view name) {
  return {std::string(name), false, "it exists on Linux only", "use --live-by protection"};
}
#endif

// As of the trackers that look at this process alone.
Availability of_this_process(Availability probed, std::string_view name,
                             const Capabilities& capabilities) {
  probed.name = name;
  if (capabilities.kind != BackendKind::kHvfSim) {
    return probed;
  }
  return {std::string(name), false,
          "the guest of the hvf-sim backend runs in another process (QEMU), which does not write "
          "through this process's page table",
          "use --live-by protection"};
}

// `name` is one of kNames.
Availability probe(std::string_view name, const Capabilities& capabilities) {
  if (name == "protection") {
    if (capabilities.write_protection) {
      return {std::string(name), true, "", ""};
    }
    return {
        std::string(name), false,
        "the " + std::string(name_of(capabilities.kind)) + " backend cannot report write faults",
        "use --live-by userfaultfd or fork"};
  }
#if defined(__linux__)
  return of_this_process(name == "fork" ? internal::probe_fork() : internal::probe_userfaultfd(),
                         name, capabilities);
#else
  return on_linux_only(name);
#endif
}

Error unavailable(const Availability& mechanism) {
  return Error{Errc::kNotSupported, 0,
               "live capture by '" + mechanism.name + "': " + mechanism.reason +
                   (mechanism.cure.empty() ? "" : "; " + mechanism.cure)};
}

// An armed tracker that protects by Vm::protect(); nullptr if there is none.
DirtyTracker* protecting(DirtyTracker* tracker) {
  return tracker != nullptr && tracker->write_fault_handler() != nullptr ? tracker : nullptr;
}

Result<std::unique_ptr<internal::FrozenMemory>> make(std::string_view name, Machine& machine,
                                                     DirtyTracker* tracker,
                                                     const LiveOptions& options) {
  // Whether a fork can be had, freeze() tells; to try one here would cost as much.
  if (name != "fork" || machine.capabilities().kind == BackendKind::kHvfSim) {
    if (const Availability here = probe(name, machine.capabilities()); !here.available) {
      return unavailable(here);
    }
  }
  if (name == "protection") {
    return internal::make_protection_freeze(machine.vm(), machine.memory(), options,
                                            protecting(tracker));
  }
#if defined(__linux__)
  return name == "fork" ? internal::make_fork_freeze(machine.memory())
                        : internal::make_userfaultfd_freeze(machine.memory(), options);
#else
  return unavailable(on_linux_only(name));
#endif
}

}  // namespace

std::vector<Availability> list_live_mechanisms(const Capabilities& capabilities) {
  std::vector<Availability> mechanisms;
  mechanisms.reserve(kNames.size());
  for (const std::string_view name : kNames) {
    mechanisms.push_back(probe(name, capabilities));
  }
  return mechanisms;
}

Result<void> check_live_options(const LiveOptions& options) {
  if (options.mechanism != kAuto &&
      std::find(kNames.begin(), kNames.end(), options.mechanism) == kNames.end()) {
    std::string names(kAuto);
    for (const std::string_view known : kNames) {
      names += ", " + std::string(known);
    }
    return Error{
        Errc::kInvalidArgument, 0,
        "no mechanism of live capture is called '" + options.mechanism + "'; there are: " + names};
  }
  if (options.buffer_bytes == 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "live capture: a buffer of 0 bytes for overwritten pages; at least one page is "
                 "needed"};
  }
  return {};
}

namespace internal {

Result<std::unique_ptr<FrozenMemory>> make_frozen_memory(Machine& machine, DirtyTracker* tracker,
                                                         const LiveOptions& options) {
  STASIS_TRY(check_live_options(options));
  if (options.mechanism != kAuto) {
    return make(options.mechanism, machine, tracker, options);
  }
  if (protecting(tracker) != nullptr) {
    return make("protection", machine, tracker, options);
  }
  std::string reasons;
  for (const std::string_view name : kNames) {
    auto made = make(name, machine, tracker, options);
    if (made) {
      return made;
    }
    reasons += (reasons.empty() ? "" : "\n  ") + made.error().message;
  }
  return Error{
      Errc::kNotSupported, 0,
      "live capture: no mechanism works with this guest; save without --live:\n  " + reasons};
}

}  // namespace internal
}  // namespace stasis::snapshot
