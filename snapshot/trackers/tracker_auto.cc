#include "snapshot/trackers/tracker_auto.h"

#include <algorithm>
#include <array>
#include <utility>

#include "snapshot/trackers/tracker_models.h"
#if defined(__linux__)
#include "snapshot/linux/pagemap.h"
#endif

namespace stasis::snapshot {
namespace {

constexpr std::uint64_t kModelPageBytes = 4096;  // Of the cost models.

// The share of `memory` that is there, by samples at equal distances; 1 where nobody tells.
double resident_share(const GuestMemory& memory) {
#if defined(__linux__)
  constexpr std::uint64_t kSamples = 256;
  const auto pagemap = internal::Pagemap::open();
  if (!pagemap) {
    return 1;
  }
  const std::uint64_t stride =
      std::max(memory.size_bytes() / kSamples / kModelPageBytes, std::uint64_t{1}) *
      kModelPageBytes;
  std::uint64_t asked = 0;
  std::uint64_t there = 0;
  for (const MemoryRegion& region : memory.regions()) {
    for (std::uint64_t offset = 0; offset < region.range.size; offset += stride) {
      std::array<std::uint64_t, 1> entry{};
      const std::uint64_t bytes = std::min(kModelPageBytes, region.range.size - offset);
      const auto read = pagemap->read_entries({region.host + offset, bytes}, entry);
      if (!read || *read != 1) {
        return 1;
      }
      ++asked;
      there += internal::pagemap_entry::is_there(entry.front()) ? 1U : 0U;
    }
  }
  return asked == 0 ? 1 : static_cast<double>(there) / static_cast<double>(asked);
#else
  (void)memory;
  return 1;
#endif
}

// All trackers, taken to be there: whether they are is asked of those that would be taken.
std::vector<Availability> every_tracker() {
  std::vector<Availability> trackers;
  for (const TrackerModel& model : tracker_models()) {
    trackers.push_back({std::string(model.name), true, "", ""});
  }
  return trackers;
}

std::string expectation(const TrackerOptions& options) {
  return options.expected_dirty_bytes
             ? std::string()
             : " (one page in " + std::to_string(kExpectedDirtyShare) + ": nobody has said)";
}

}  // namespace

TrackerWorkload workload_of(const GuestMemory& memory, const Capabilities& capabilities,
                            std::uint32_t vcpus, const TrackerOptions& options) {
  TrackerWorkload workload;
  workload.memory_pages = memory.size_bytes() / kModelPageBytes;
  workload.resident_pages = std::min(
      workload.memory_pages, static_cast<std::uint64_t>(static_cast<double>(workload.memory_pages) *
                                                        resident_share(memory)));
  workload.missing_pages =
      options.pages_are_missing ? workload.memory_pages - workload.resident_pages : 0;
  workload.dirty_pages =
      options.expected_dirty_bytes
          ? std::min(workload.memory_pages,
                     (*options.expected_dirty_bytes + kModelPageBytes - 1) / kModelPageBytes)
          : std::max(workload.memory_pages / kExpectedDirtyShare, std::uint64_t{1});
  workload.vcpus = vcpus;
  workload.is_live = options.use == TrackerUse::kLiveSaves;
  workload.backend_protects = capabilities.write_protection;
  return workload;
}

Result<ChosenTracker> make_auto_tracker(Vm& vm, GuestMemory& memory,
                                        const Capabilities& capabilities, std::uint32_t vcpus,
                                        const TrackerOptions& options) {
  STASIS_TRY(ring_entries_for(kAutoTracker, capabilities, options));  // Bad for one, bad for all.
  const CostTable& costs = options.costs ? *options.costs : builtin_costs();
  const TrackerWorkload workload = workload_of(memory, capabilities, vcpus, options);
  const TrackerRanking ranking = rank_trackers(every_tracker(), costs, workload);
  std::vector<std::string> reasons;
  reasons.push_back("the figures are " + costs.source);
  reasons.push_back("the guest has " + describe(workload) + expectation(options));
  for (const RankedTracker& candidate : ranking.best_first) {
    const std::string would_take = candidate.name + " would take " + describe(candidate.cost);
    Result<std::unique_ptr<DirtyTracker>> made =
        make_tracker(candidate.name, vm, memory, capabilities, options);
    if (made) {
      reasons.push_back(would_take + ": " + candidate.reason);
      reasons.push_back("therefore the tracker is " + candidate.name);
      return ChosenTracker{*std::move(made), std::move(reasons)};
    }
    // A log that this VM does not keep is refused as the caller's mistake where it was named.
    const Errc code = made.error().code;
    if (code != Errc::kNotSupported && code != Errc::kInvalidArgument) {
      return std::move(made).error();
    }
    reasons.push_back(would_take + ", but cannot be had: " + made.error().message);
  }
  return Error{Errc::kNotSupported, 0, "tracker 'auto': none can be had: " + reasons.back()};
}

Result<ChosenTracker> make_auto_tracker(Machine& machine, const TrackerOptions& options) {
  return make_auto_tracker(machine.vm(), machine.memory(), machine.capabilities(),
                           machine.vcpu_count(), options);
}

}  // namespace stasis::snapshot
