// Manifest <-> the bytes of `manifest.capnp`. Reading is validation: what comes out of
// decode_manifest() has passed every rule of schemas/manifest.capnp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot {

// Checked before anything is parsed or allocated.
inline constexpr std::uint64_t kManifestBytesMax = std::uint64_t{256} << 20U;
inline constexpr std::uint32_t kHeaderBytesMax = 4096;
inline constexpr std::uint32_t kRegionsMax = 4096;
inline constexpr std::uint32_t kDevicesMax = 256;
inline constexpr std::uint32_t kDeviceNameBytesMax = 128;
inline constexpr std::uint32_t kDeviceStateBytesMax = 16U << 20U;
inline constexpr std::uint32_t kLabelsMax = 256;
inline constexpr std::uint32_t kLabelKeyBytesMax = 128;
inline constexpr std::uint32_t kLabelValueBytesMax = 4096;
inline constexpr std::uint32_t kCpuFeaturesMax = 1024;
inline constexpr std::uint32_t kCpuFeatureBytesMax = 64;
inline constexpr std::uint32_t kCreatorBytesMax = 512;
inline constexpr std::uint32_t kPathBytesMax = 4096;
inline constexpr std::uint32_t kXsaveBytesMax = 64U << 10U;
inline constexpr std::uint32_t kRegisterListMax = 4096;  // MSRs, CPUID entries, system registers.
inline constexpr std::uint32_t kChunkBytesMax = 2U << 20U;
inline constexpr std::uint64_t kGuestAddressMax = std::uint64_t{1} << 52U;  // Of regions' ends.
inline constexpr std::uint64_t kMemoryBytesMax = std::uint64_t{1} << 43U;

// What every version of the format says about itself in the same way, for ever.
struct SnapshotHeader {
  std::uint32_t format_version = 0;
  SnapshotId id;
  std::optional<SnapshotId> parent;
  std::string creator;
  std::int64_t created_ns = 0;
  std::uint64_t body_bytes = 0;
  ContentRoot root;         // XXH3-128 of the body.
  std::string explanation;  // One sentence for people.
  friend bool operator==(const SnapshotHeader&, const SnapshotHeader&) = default;
};

struct DecodedManifest {
  Manifest manifest;
  ContentRoot root;
};

// kInvalidArgument, naming the field, if `manifest` breaks a rule of the schema: what cannot be
// read is never written.
Result<std::vector<std::byte>> encode_manifest(const Manifest& manifest);

// Of any version, also a future one. kCorruption if these are not the bytes of a snapshot.
Result<SnapshotHeader> decode_header(std::span<const std::byte> file);

// kNotSupported for a future version, with the header's own words; kCorruption for all else,
// naming the field. Safe for any bytes.
Result<DecodedManifest> decode_manifest(std::span<const std::byte> file);

// The message behind the header alone, without regard to the header and its checksum: what a fuzzer
// can get past. kCorruption, naming the field. Safe for any bytes.
Result<Manifest> decode_manifest_body(std::span<const std::byte> body);

// The rules that relate fields to each other, for a manifest from any origin. Part of both
// functions above.
Result<void> validate(const Manifest& manifest);

// kMappable: the place of `gpa` in the payload (it must lie in a region), and the payload's size.
std::uint64_t mappable_offset(std::span<const ManifestRegion> regions, Gpa gpa);
std::uint64_t mappable_size(std::span<const ManifestRegion> regions);

}  // namespace stasis::snapshot
