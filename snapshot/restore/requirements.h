// Whether a snapshot can run on this backend and host: asked before anything is created.
#pragma once

#include <string>
#include <vector>

#include "core/capabilities.h"
#include "core/device.h"
#include "core/result.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot {

enum class CpuCheck : std::uint8_t {
  kEnforce,
  // Run although features are missing. A guest that uses one fails, or worse, computes nonsense.
  kIgnore,
};

// The features that the snapshot needs and the host lacks, sorted.
std::vector<std::string> missing_cpu_features(const Manifest& manifest,
                                              const Capabilities& capabilities);

// kMismatch naming what does not fit and both values: architecture, page size, number of vCPUs
// (with the host's limit), memory beyond the host's, each missing CPU feature, the clock; devices
// that `bus` lacks or has in excess.
Result<void> check_requirements(const Manifest& manifest, const Capabilities& capabilities,
                                const DeviceBus& bus, CpuCheck cpu);

// What plans with missing pages (restore/plan.h) need of this host and backend; and those that move
// pages into their places.
Availability probe_missing_pages(const Capabilities& capabilities);
Availability probe_moved_pages(const Capabilities& capabilities);
// Whether the backend's guests do not fault through this process's page table.
bool faults_elsewhere(const Capabilities& capabilities);

}  // namespace stasis::snapshot
