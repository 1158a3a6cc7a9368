// Measures what dirty trackers cost on this host, under a guest that writes where it is told: the
// figures by which --tracker auto decides here.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/capabilities.h"
#include "core/hypervisor.h"
#include "core/result.h"
#include "snapshot/trackers/cost_table.h"

namespace stasis::session {

// Value.
struct CalibrationOptions {
  // About how long it may take. Every tracker is measured a few times even if that takes longer.
  std::chrono::nanoseconds budget = std::chrono::seconds(8);
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};  // May be empty.
  // When this becomes true it ends soon with kIo. Borrowed, may be null.
  const std::atomic<bool>* cancel = nullptr;
};

// Value.
struct Calibration {
  snapshot::CostTable costs;           // Without a source.
  std::vector<Availability> left_out;  // What could not be measured, with the reason.
};

// Of the trackers that "auto" may take, and of "fork", which a live capture may need beside one.
// Runs the guest "pagetoucher" twice, with 80 and 272 MiB, on the calling thread. Errors: those of
// Session::launch(); kNotSupported if the backend runs no bare guests.
Result<Calibration> calibrate_trackers(HypervisorBackend& backend,
                                       const CalibrationOptions& options);

}  // namespace stasis::session
