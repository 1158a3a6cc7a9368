#include "snapshot/trackers/tracker_catalog.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "snapshot/trackers/tracker_auto.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot {
namespace {

constexpr std::string_view kAuto = kAutoTracker;
// In the order of the list in the header.
constexpr std::array<std::string_view, 12> kNames{
    "compare",      "compare-hash", "zero-scan", "residency", "protection",       "userfaultfd",
    "pagemap-scan", "soft-dirty",   "fork",      "dirty-log", "dirty-log-manual", "dirty-ring"};

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

Availability probe_page_marks() {
#if defined(__linux__)
  return internal::probe_soft_dirty();
#else
  return {"soft-dirty", false, "soft-dirty marks exist on Linux only", "use --tracker protection"};
#endif
}

Availability probe_frozen_copy() {
#if defined(__linux__)
  return internal::probe_fork();
#else
  return {"fork", false, "a frozen copy can be read on Linux only", "use --tracker compare"};
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

// `name` is one of kNames.
Availability probe(std::string_view name, const Capabilities& capabilities) {
  if (name == "residency") {
    return watching_this_process(probe_pages_present(), capabilities);
  }
  if (name == "protection") {
    return probe_protection(capabilities,
                            watching_this_process(probe_host_protection(), capabilities));
  }
  if (name == "userfaultfd") {
    return watching_this_process(probe_host_protection(), capabilities);
  }
  if (name == "pagemap-scan") {
    return watching_this_process(probe_kernel_marks(), capabilities);
  }
  if (name == "soft-dirty") {
    return watching_this_process(probe_page_marks(), capabilities);
  }
  if (name == "fork") {
    return watching_this_process(probe_frozen_copy(), capabilities);
  }
  if (name == "dirty-log") {
    return probe_dirty_log(capabilities);
  }
  if (name == "dirty-log-manual") {
    return capabilities.manual_dirty_log;
  }
  if (name == "dirty-ring") {
    return capabilities.dirty_ring;
  }
  return available(name);
}

// What watches, marks or copies this process's page table knows nothing of pages that are missing
// until they are touched: another userfaultfd cannot have their memory, and a fork reads zeros.
bool needs_whole_memory(std::string_view name, const Capabilities& capabilities) {
  return name == "userfaultfd" || name == "pagemap-scan" || name == "soft-dirty" ||
         name == "fork" || (name == "protection" && !capabilities.write_protection);
}

Error unknown_tracker(std::string_view name) {
  if (name == "mprotect") {  // Expected by whoever knows trackers; docs/decisions/0050 has why.
    return Error{Errc::kNotSupported, 0,
                 "tracker 'mprotect' does not exist: where the host's mapping is read-only, the "
                 "frame of an exception or the accessed bit of a page table entry cannot be "
                 "written, and the guest shuts down; use --tracker userfaultfd, which protects the "
                 "same mapping and has whoever writes wait"};
  }
  std::string names(kAuto);
  for (const std::string_view known : kNames) {
    names += ", " + std::string(known);
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
  const std::uint32_t entries = options.ring_entries;
  if (entries != 0 && (!std::has_single_bit(entries) || entries < kDirtyRingEntriesMin ||
                       entries > kRingEntriesMax)) {
    return Error{Errc::kInvalidArgument, 0,
                 "dirty tracker: rings of " + std::to_string(entries) +
                     " entries; a power of two from " + std::to_string(kDirtyRingEntriesMin) +
                     " to " + std::to_string(kRingEntriesMax) + " is needed"};
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
  if (name == "residency") {
    return internal::make_residency_tracker(memory);
  }
  if (name == "soft-dirty") {
    return internal::make_soft_dirty_tracker(memory);
  }
  if (name == "fork") {
    return internal::make_fork_tracker(memory);
  }
  return internal::make_pagemap_scan_tracker(memory);
#else
  (void)memory;
  return unavailable({std::string(name), false, "it exists on Linux only", ""});
#endif
}

std::optional<DirtyLogKind> log_kind(std::string_view name) {
  for (const DirtyLogKind kind :
       {DirtyLogKind::kBitmap, DirtyLogKind::kManualClear, DirtyLogKind::kRing}) {
    if (name == name_of(kind)) {
      return kind;
    }
  }
  return std::nullopt;
}

Result<std::unique_ptr<DirtyTracker>> make_from_log(DirtyLogKind kind, Vm& vm,
                                                    GuestMemory& memory) {
  DirtyLog* const log = vm.dirty_log(kind);
  if (log == nullptr) {
    return Error{
        Errc::kInvalidArgument, 0,
        "tracker '" + std::string(name_of(kind)) + "': " +
            (kind == DirtyLogKind::kRing
                 ? "this VM was created without rings; name the tracker when the guest is "
                   "launched or restored"
                 : "this VM keeps rings and no bitmap; use --tracker dirty-ring, or create "
                   "the VM without it")};
  }
  return internal::make_dirty_log_tracker(*log, kind, memory);
}

}  // namespace

std::vector<Availability> list_trackers(const Capabilities& capabilities) {
  std::vector<Availability> trackers;
  trackers.reserve(kNames.size());
  for (const std::string_view name : kNames) {
    trackers.push_back(probe(name, capabilities));
  }
  return trackers;
}

Result<std::uint32_t> ring_entries_for(std::string_view name, const Capabilities& capabilities,
                                       const TrackerOptions& options) {
  STASIS_TRY(check_options(options));
  if (name != name_of(DirtyLogKind::kRing)) {
    return 0U;
  }
  if (!capabilities.dirty_ring.available) {
    return unavailable(capabilities.dirty_ring);
  }
  const std::uint32_t most = std::min(kRingEntriesMax, capabilities.dirty_ring_entries_max);
  return options.ring_entries != 0 ? options.ring_entries : std::bit_floor(most);
}

TrackerTraits promised_traits(std::string_view name, const Capabilities& capabilities,
                              const TrackerOptions& options) {
  TrackerTraits traits{std::string(name), false, false, capabilities.page_size_bytes};
  const bool by_fault = name == "protection" || name == "userfaultfd";
  const bool by_content = name.starts_with("compare") || name == "fork";
  traits.granularity_bytes *= by_fault ? options.unprotect_pages : 1U;
  const bool from_table = name == "residency" || name == "soft-dirty";
  const bool in_host = name == "userfaultfd" || name == "pagemap-scan" ||
                       (name == "protection" && !capabilities.write_protection);
  traits.sees_host_writes = in_host || from_table || by_content || name == "zero-scan";
  // A hypervisor's log may name pages that the guest only read.
  traits.exact = by_content || name == "pagemap-scan" || (by_fault && options.unprotect_pages == 1);
  // Of the bitmap only what every hypervisor's log can do.
  traits.collects_while_running = in_host || name == name_of(DirtyLogKind::kManualClear) ||
                                  name == name_of(DirtyLogKind::kRing);
  return traits;
}

Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Vm& vm,
                                                   GuestMemory& memory,
                                                   const Capabilities& capabilities,
                                                   const TrackerOptions& options) {
  STASIS_TRY(check_options(options));
  if (name == kAuto) {
    STASIS_ASSIGN(ChosenTracker best, make_auto_tracker(vm, memory, capabilities, 1, options));
    return std::move(best.tracker);
  }
  const std::string chosen(name);
  if (std::find(kNames.begin(), kNames.end(), chosen) == kNames.end()) {
    return unknown_tracker(name);
  }
  // Whether a fork can be had, arm() tells; to try one here would cost as much as arming it.
  if (chosen != "fork") {
    if (const Availability here = probe(chosen, capabilities); !here.available) {
      return unavailable(here);
    }
  }
  if (needs_whole_memory(chosen, capabilities)) {
    STASIS_TRY(memory.provide_all());
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
  if (chosen == "residency" || chosen == "pagemap-scan" || chosen == "soft-dirty" ||
      chosen == "fork") {
    return make_from_page_table(chosen, memory);
  }
  if (chosen == "protection" && capabilities.write_protection) {
    return internal::make_protection_tracker(vm, memory, options);
  }
  if (const std::optional<DirtyLogKind> kind = log_kind(chosen)) {
    return make_from_log(*kind, vm, memory);
  }
  return make_host_protection(memory, options);
}

Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Machine& machine,
                                                   const TrackerOptions& options) {
  if (name == kAuto) {
    STASIS_ASSIGN(ChosenTracker best, make_auto_tracker(machine, options));
    return std::move(best.tracker);
  }
  return make_tracker(name, machine.vm(), machine.memory(), machine.capabilities(), options);
}

}  // namespace stasis::snapshot
