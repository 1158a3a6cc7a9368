// The mark behind a payload: whose it is. Under a policy that maps memory no checksum of it is
// compared (docs/decisions/0034-payloads-say-whose-they-are.md), so a file `memory` that belongs to
// another snapshot must be told in another way. Private to snapshot/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/result.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot::internal {

using PayloadMark = std::array<std::byte, kPayloadMarkBytes>;

// What stands in `memory` behind the payload of the snapshot `id`.
PayloadMark payload_mark(const SnapshotId& id, std::uint64_t payload_bytes);

// kMismatch, naming both snapshots, if `mark` is that of another one; kCorruption if it is none.
Result<void> check_payload_mark(std::span<const std::byte, kPayloadMarkBytes> mark,
                                const SnapshotId& id, std::uint64_t payload_bytes);

}  // namespace stasis::snapshot::internal
