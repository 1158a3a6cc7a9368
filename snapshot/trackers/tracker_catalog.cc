#include "snapshot/trackers/tracker_catalog.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot {
namespace {

constexpr std::string_view kAuto = "auto";

Availability available(std::string_view name) {
  return {std::string(name), true, "", ""};
}

Availability probe_host_protection() {
#if defined(__linux__)
  return internal::probe_userfaultfd();
#else
  return {"userfaultfd", false, "userfaultfd exists on Linux only", "use --tracker protection"};
#endif
}

Availability probe_pages_present() {
#if defined(__linux__)
  return internal::probe_residency();
#else
  return {"residency", false, "/proc/self/pagemap exists on Linux only", "use --tracker zero-scan"};
#endif
}

Availability probe_kernel_marks() {
#if defined(__linux__)
  return internal::probe_pagemap_scan();
#else
  return {"pagemap-scan", false, "PAGEMAP_SCAN exists on Linux only", "use --tracker protection"};
#endif
}

Availability probe_protection(const Capabilities& capabilities, const Availability& host) {
  if (capabilities.write_protection || host.available) {
    return available("protection");
  }
  return {"protection", false,
          "the " + std::string(name_of(capabilities.kind)) +
              " backend cannot report write faults, and " + host.reason,
          host.cure};
}

Availability probe_dirty_log(const Capabilities& capabilities) {
  if (capabilities.dirty_page_tracking) {
    return available("dirty-log");
  }
  return {"dirty-log", false,
          "the " + std::string(name_of(capabilities.kind)) + " backend keeps no dirty log",
          "use --tracker protection or compare"};
}

Error unknown_tracker(std::string_view name, std::span<const Availability> trackers) {
  std::string names(kAuto);
  for (const Availability& tracker : trackers) {
    names += ", " + tracker.name;
  }
  return Error{Errc::kInvalidArgument, 0,
               "no dirty tracker is called '" + std::string(name) + "'; there are: " + names};
}

Error unavailable(const Availability& tracker) {
  return Error{Errc::kNotSupported, 0,
               "tracker '" + tracker.name + "': " + tracker.reason +
                   (tracker.cure.empty() ? "" : "; " + tracker.cure)};
}

Result<void> check_options(const TrackerOptions& options) {
  if (!std::has_single_bit(options.unprotect_pages) ||
      options.unprotect_pages > kUnprotectPagesMax) {
    return Error{Errc::kInvalidArgument, 0,
                 "dirty tracker: " + std::to_string(options.unprotect_pages) +
                     " pages a fault; a power of two from 1 to " +
                     std::to_string(kUnprotectPagesMax) + " is needed"};
  }
  return {};
}

Result<std::unique_ptr<DirtyTracker>> make_host_protection(GuestMemory& memory,
                                                           const TrackerOptions& options) {
#if defined(__linux__)
  return internal::make_userfaultfd_tracker(memory, options);
#else
  (void)memory;
  (void)options;
  return unavailable(probe_host_protection());
#endif
}

// `name` is available, and the page table's.
Result<std::unique_ptr<DirtyTracker>> make_from_page_table(std::string_view name,
                                                           GuestMemory& memory) {
#if defined(__linux__)
  return name == "residency" ? internal::make_residency_tracker(memory)
                             : internal::make_pagemap_scan_tracker(memory);
#else
  (void)memory;
  return unavailable(name == "residency" ? probe_pages_present() : probe_kernel_marks());
#endif
}

// What watches this process's mappings is blind to a guest that runs in another process: so it does
// behind the simulation of Hypervisor.framework, in QEMU.
Availability watching_this_process(Availability probed, const Capabilities& capabilities) {
  if (capabilities.kind != BackendKind::kHvfSim) {
    return probed;
  }
  return {std::move(probed.name), false,
          "the guest of the hvf-sim backend runs in another process (QEMU), whose writes this "
          "process's page table does not show",
          "use --tracker protection"};
}

}  // namespace

std::vector<Availability> list_trackers(const Capabilities& capabilities) {
  const Availability host = watching_this_process(probe_host_protection(), capabilities);
  return {available("compare"),
          available("compare-hash"),
          available("zero-scan"),
          watching_this_process(probe_pages_present(), capabilities),
          probe_protection(capabilities, host),
          host,
          watching_this_process(probe_kernel_marks(), capabilities),
          probe_dirty_log(capabilities)};
}

TrackerTraits promised_traits(std::string_view name, const Capabilities& capabilities,
                              const TrackerOptions& options) {
  TrackerTraits traits{std::string(name), false, false, capabilities.page_size_bytes};
  const bool by_fault = name == "protection" || name == "userfaultfd";
  traits.granularity_bytes *= by_fault ? options.unprotect_pages : 1U;
  const bool in_host = name == "userfaultfd" || name == "pagemap-scan" ||
                       (name == "protection" && !capabilities.write_protection);
  traits.sees_host_writes =
      in_host || name.starts_with("compare") || name == "zero-scan" || name == "residency";
  // A hypervisor's log may name pages that the guest only read.
  traits.exact = name.starts_with("compare") || name == "pagemap-scan" ||
                 (by_fault && options.unprotect_pages == 1);
  traits.collects_while_running = name == "pagemap-scan";
  return traits;
}

TrackerChoice choose_tracker(std::span<const Availability> trackers) {
  // Cheapest first: cost of the first write to a page, then of a collection.
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kPreference{{
      {"dirty-log", "the hypervisor logs guest writes itself, without an exit for each page"},
      {"pagemap-scan", "there is no dirty log here; the kernel marks written pages by itself"},
      {"protection", "there is no dirty log here; a fault for each page written is the next best"},
      {"compare-hash", "neither a dirty log nor write protection works here; every page is read"},
  }};
  for (const auto& preferred : kPreference) {
    const auto found = std::find_if(trackers.begin(), trackers.end(), [&](const Availability& t) {
      return t.name == preferred.first && t.available;
    });
    if (found != trackers.end()) {
      return {std::string(preferred.first), std::string(preferred.second)};
    }
  }
  return {"compare-hash", "nothing else is known to work here; every page is read"};
}

Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Vm& vm,
                                                   GuestMemory& memory,
                                                   const Capabilities& capabilities,
                                                   const TrackerOptions& options) {
  STASIS_TRY(check_options(options));
  const std::vector<Availability> trackers = list_trackers(capabilities);
  const std::string chosen = name == kAuto ? choose_tracker(trackers).name : std::string(name);
  const auto found = std::find_if(trackers.begin(), trackers.end(),
                                  [&](const Availability& t) { return t.name == chosen; });
  if (found == trackers.end()) {
    return unknown_tracker(name, trackers);
  }
  if (!found->available) {
    return unavailable(*found);
  }
  if (chosen == "compare") {
    return internal::make_compare_tracker(memory, internal::CompareBy::kBytes);
  }
  if (chosen == "compare-hash") {
    return internal::make_compare_tracker(memory, internal::CompareBy::kHash);
  }
  if (chosen == "zero-scan") {
    return internal::make_compare_tracker(memory, internal::CompareBy::kZero);
  }
  if (chosen == "residency" || chosen == "pagemap-scan") {
    return make_from_page_table(chosen, memory);
  }
  if (chosen == "protection" && capabilities.write_protection) {
    return internal::make_protection_tracker(vm, memory, options);
  }
  if (chosen == "dirty-log") {
    DirtyLog* const log = vm.dirty_log();
    STASIS_CHECK(log != nullptr);  // Capabilities::dirty_page_tracking promises it.
    return internal::make_dirty_log_tracker(*log, memory);
  }
  return make_host_protection(memory, options);
}

Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Machine& machine,
                                                   const TrackerOptions& options) {
  return make_tracker(name, machine.vm(), machine.memory(), machine.capabilities(), options);
}

}  // namespace stasis::snapshot
