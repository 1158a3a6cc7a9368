// The rules of schemas/manifest.capnp on values: the same for what is written and what is read.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/vcpu_codec.h"

namespace stasis::snapshot {
namespace {

using Violation = std::optional<std::string>;

std::string limit_text(std::string_view what, std::uint64_t value, std::uint64_t limit) {
  return std::string(what) + ": " + std::to_string(value) + ", at most " + std::to_string(limit) +
         " allowed";
}

Violation text_violation(std::string_view what, const std::string& text, std::size_t least,
                         std::size_t most) {
  if (text.size() > most) {
    return limit_text(std::string(what) + " length", text.size(), most);
  }
  if (text.size() < least) {
    return std::string(what) + " is empty";
  }
  return std::nullopt;
}

Violation in_geometry(const Manifest& m) {
  if (m.format_version != kFormatVersion) {
    return "format version " + std::to_string(m.format_version);
  }
  if (m.page_size_bytes != 4096 && m.page_size_bytes != 16384) {
    return "page size of " + std::to_string(m.page_size_bytes) + " bytes: neither 4096 nor 16384";
  }
  const std::uint32_t chunk = m.chunk_bytes;
  if (chunk < m.page_size_bytes || chunk > kChunkBytesMax || (chunk & (chunk - 1)) != 0) {
    return "chunk size of " + std::to_string(chunk) +
           " bytes: not a power of two from the page size to 2 MiB";
  }
  if (m.payload_mark_bytes != 0 && m.payload_mark_bytes != kPayloadMarkBytes) {
    return "payload mark of " + std::to_string(m.payload_mark_bytes) + " bytes: neither 0 nor " +
           std::to_string(kPayloadMarkBytes);
  }
  if (m.codec == Codec::kLz4 && m.layout == Layout::kMappable) {
    return "codec lz4 in a mappable layout: compressed bytes cannot be mapped, use layout packed";
  }
  return std::nullopt;
}

Violation in_regions(const Manifest& m) {
  if (m.regions.empty() || m.regions.size() > kRegionsMax) {
    return std::to_string(m.regions.size()) + " memory regions: not 1 to " +
           std::to_string(kRegionsMax);
  }
  std::uint64_t end = 0;
  std::uint64_t total = 0;
  for (const ManifestRegion& region : m.regions) {
    const auto [begin, size] = region.range;
    if (size == 0 || !is_aligned(begin.value, m.page_size_bytes) ||
        !is_aligned(size, m.page_size_bytes)) {
      return "region " + describe(region.range) + " is empty or not whole pages";
    }
    if (!fits(begin.value, size, kGuestAddressMax)) {
      return "region " + describe(region.range) + " reaches beyond " + hex(kGuestAddressMax);
    }
    if (begin.value < end) {
      return "region " + describe(region.range) + " is out of order or overlaps the one before it";
    }
    end = begin.value + size;
    total += size;  // Cannot wrap: the regions are disjoint below 2^52.
  }
  if (total > kMemoryBytesMax) {
    return limit_text("bytes of memory", total, kMemoryBytesMax);
  }
  return std::nullopt;
}

// What an extent says about its place in the payload. `chunks` is the number of chunks before it.
Violation in_placement(const Manifest& m, const Extent& extent, std::uint64_t chunks) {
  if (!is_stored(extent.kind)) {
    if (extent.file_offset != 0 || extent.first_chunk != 0) {
      return "has a place in the payload although nothing is stored";
    }
    return std::nullopt;
  }
  if (extent.first_chunk != chunks) {
    return "has its chunks out of order";
  }
  if (extent.kind == ExtentKind::kLz4) {
    // Its stored size is in the index, which is checked there.
    return extent.file_offset < m.payload_bytes
               ? Violation{}
               : "offset " + std::to_string(extent.file_offset) + " is outside the payload";
  }
  if (!is_aligned(extent.file_offset, m.page_size_bytes) ||
      !fits(extent.file_offset, extent.range.size, m.payload_bytes)) {
    return "offset " + std::to_string(extent.file_offset) +
           " is unaligned or reaches outside the payload";
  }
  return std::nullopt;
}

Violation in_extent(const Manifest& m, const Extent& extent, std::uint64_t chunks) {
  if (extent.range.size == 0 || !is_aligned(extent.range.size, m.page_size_bytes) ||
      extent.range.size / m.page_size_bytes > UINT32_MAX) {
    return "has an impossible length";
  }
  if (extent.kind == ExtentKind::kInherited && !m.parent) {
    return "is inherited, but there is no parent";
  }
  if (extent.kind == ExtentKind::kLz4 && m.codec != Codec::kLz4) {
    return "is compressed, but the codec is none";
  }
  return in_placement(m, extent, chunks);
}

std::string describe_extent(std::size_t index, const Extent& extent, const std::string& what) {
  return "extent " + std::to_string(index) + " " + describe(extent.range) + " (" +
         std::string(name_of(extent.kind)) + ") " + what;
}

// How far the walk over all extents is. Value.
struct ExtentWalk {
  std::size_t index = 0;     // Of the next extent.
  std::uint64_t chunks = 0;  // Of the extents before it.
  std::uint64_t image = 0;   // Where the current region begins in a mappable payload.
};

// The extents from walk.index on, which must cover exactly `region`.
Violation in_region(const Manifest& m, const ManifestRegion& region, ExtentWalk& walk) {
  Gpa at = region.range.begin;
  for (; at < region.range.end(); ++walk.index) {
    if (walk.index == m.extents.size()) {
      return "extents end at " + hex(at.value) + " inside region " + describe(region.range);
    }
    const Extent& extent = m.extents[walk.index];
    if (extent.range.begin != at ||
        extent.range.size > region.range.end().value - extent.range.begin.value) {
      return describe_extent(walk.index, extent,
                             "leaves a gap, overlaps or crosses its region's end");
    }
    if (auto bad = in_extent(m, extent, walk.chunks)) {
      return describe_extent(walk.index, extent, *bad);
    }
    const std::uint64_t place = walk.image + (at.value - region.range.begin.value);
    if (is_stored(extent.kind) && m.layout == Layout::kMappable && extent.file_offset != place) {
      return describe_extent(walk.index, extent, "is not at its place in the mappable payload");
    }
    walk.chunks += is_stored(extent.kind) ? chunk_count_of(extent.range, m.chunk_bytes) : 0;
    at = extent.range.end();
  }
  return std::nullopt;
}

Violation in_extents(const Manifest& m) {
  ExtentWalk walk;
  for (const ManifestRegion& region : m.regions) {
    walk.image = align_up(walk.image, kRegionAlignmentBytes);
    if (auto bad = in_region(m, region, walk)) {
      return bad;
    }
    walk.image += region.range.size;
  }
  if (walk.index != m.extents.size()) {
    return std::to_string(m.extents.size() - walk.index) + " extents lie outside every region";
  }
  if (walk.chunks != m.chunk_count) {
    return "chunk count " + std::to_string(m.chunk_count) + " instead of " +
           std::to_string(walk.chunks);
  }
  if (m.layout == Layout::kMappable && m.payload_bytes != walk.image) {
    return "payload of " + std::to_string(m.payload_bytes) + " bytes instead of " +
           std::to_string(walk.image);
  }
  return std::nullopt;
}

Violation in_machine(const Manifest& m) {
  const std::size_t vcpus = m.machine.vcpus.size();
  if (vcpus == 0 || vcpus > kVcpusMax) {
    return std::to_string(vcpus) + " vCPUs: not 1 to " + std::to_string(kVcpusMax);
  }
  if (m.machine.activities.size() != vcpus || m.machine.wake_pending.size() != vcpus) {
    return "not one activity and wake-up flag for each vCPU";
  }
  for (std::size_t i = 0; i < vcpus; ++i) {
    const VcpuState& state = m.machine.vcpus[i];
    if (architecture_of(state) != m.architecture) {
      return "vCPU " + std::to_string(i) + " is " + std::string(name_of(architecture_of(state))) +
             ", the snapshot " + std::string(name_of(m.architecture));
    }
    if (auto bad = internal::violation_in(state)) {
      return "vCPU " + std::to_string(i) + ": " + *bad;
    }
  }
  return std::nullopt;
}

// The indices of equal elements are of no interest: one duplicate is enough.
template <typename List, typename Key>
bool has_duplicate(const List& list, Key key) {
  std::vector<std::string_view> keys;
  keys.reserve(list.size());
  for (const auto& element : list) {
    keys.push_back(key(element));
  }
  std::ranges::sort(keys);
  return std::ranges::adjacent_find(keys) != keys.end();
}

Violation in_devices(const Manifest& m) {
  if (m.machine.devices.size() > kDevicesMax) {
    return limit_text("devices", m.machine.devices.size(), kDevicesMax);
  }
  for (const DeviceState& device : m.machine.devices) {
    if (auto bad = text_violation("device name", device.name, 1, kDeviceNameBytesMax)) {
      return bad;
    }
    if (device.version == 0) {
      return "device '" + device.name + "' has version 0";
    }
    if (device.bytes.size() > kDeviceStateBytesMax) {
      return limit_text("bytes of state of device '" + device.name + "'", device.bytes.size(),
                        kDeviceStateBytesMax);
    }
  }
  if (has_duplicate(m.machine.devices,
                    [](const DeviceState& d) { return std::string_view{d.name}; })) {
    return "two devices have one name";
  }
  return std::nullopt;
}

Violation in_texts(const Manifest& m) {
  if (auto bad = text_violation("creator", m.creator, 0, kCreatorBytesMax)) {
    return bad;
  }
  if (m.parent) {
    if (auto bad = text_violation("parent path", m.parent->path, 0, kPathBytesMax)) {
      return bad;
    }
    if (m.parent->id == m.id) {
      return "it is its own parent";
    }
  }
  if (m.cpu_features.size() > kCpuFeaturesMax) {
    return limit_text("CPU features", m.cpu_features.size(), kCpuFeaturesMax);
  }
  for (const std::string& feature : m.cpu_features) {
    if (auto bad = text_violation("CPU feature", feature, 1, kCpuFeatureBytesMax)) {
      return bad;
    }
  }
  if (std::ranges::adjacent_find(m.cpu_features, std::ranges::greater_equal()) !=
      m.cpu_features.end()) {
    return "CPU features are not strictly ascending";
  }
  if (m.labels.size() > kLabelsMax) {
    return limit_text("labels", m.labels.size(), kLabelsMax);
  }
  for (const Label& label : m.labels) {
    if (auto bad = text_violation("label key", label.key, 1, kLabelKeyBytesMax)) {
      return bad;
    }
    if (auto bad = text_violation("label value", label.value, 0, kLabelValueBytesMax)) {
      return bad;
    }
  }
  if (has_duplicate(m.labels, [](const Label& label) { return std::string_view{label.key}; })) {
    return "two labels have one key";
  }
  return std::nullopt;
}

}  // namespace

Result<void> validate(const Manifest& manifest) {
  // In this order: later rules rely on earlier ones.
  for (auto* const rule : {in_geometry, in_regions, in_extents, in_machine, in_devices, in_texts}) {
    if (auto bad = rule(manifest)) {
      return Error{Errc::kCorruption, 0, *std::move(bad)};
    }
  }
  return {};
}

std::uint64_t mappable_offset(std::span<const ManifestRegion> regions, Gpa gpa) {
  std::uint64_t offset = 0;
  for (const ManifestRegion& region : regions) {
    offset = align_up(offset, kRegionAlignmentBytes);
    if (region.range.contains(gpa)) {
      return offset + (gpa.value - region.range.begin.value);
    }
    offset += region.range.size;
  }
  STASIS_CHECK(false);
  return 0;
}

std::uint64_t mappable_size(std::span<const ManifestRegion> regions) {
  std::uint64_t size = 0;
  for (const ManifestRegion& region : regions) {
    size = align_up(size, kRegionAlignmentBytes) + region.range.size;
  }
  return size;
}

}  // namespace stasis::snapshot
