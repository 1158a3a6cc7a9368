// What a capture says about itself, whichever way it is made. Private to snapshot/.
#pragma once

#include <vector>

#include "core/capabilities.h"
#include "core/guest_memory.h"
#include "core/vcpu_state.h"
#include "snapshot/capture.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_writer.h"

namespace stasis::snapshot {

// Of now. `vcpus` are only looked at for CpuRequirement::kStateInUse.
SnapshotFacts facts_of(const Capabilities& capabilities, const std::vector<VcpuState>& vcpus,
                       const CaptureOptions& options);

std::vector<ManifestRegion> manifest_regions(const GuestMemory& memory);

}  // namespace stasis::snapshot
