#include "hvf/sim/stage2.h"

#include <algorithm>
#include <iterator>

#include "core/address.h"

namespace stasis::hvf::sim {
namespace {

constexpr hv_memory_flags_t kAllFlags = HV_MEMORY_READ | HV_MEMORY_WRITE | HV_MEMORY_EXEC;

}  // namespace

bool Stage2::is_valid_range(hv_ipa_t ipa, std::size_t size) const {
  return size != 0 && is_aligned(ipa, granule_bytes_) && is_aligned(size, granule_bytes_) &&
         fits(ipa, size, ipa_limit_);
}

Stage2::Extents::const_iterator Stage2::extent_of(hv_ipa_t ipa) const {
  const auto after = extents_.upper_bound(ipa);
  if (after == extents_.begin()) {
    return extents_.end();
  }
  const auto candidate = std::prev(after);
  return ipa - candidate->first < candidate->second.size ? candidate : extents_.end();
}

bool Stage2::is_mapped_throughout(hv_ipa_t ipa, std::size_t size) const {
  const hv_ipa_t end = ipa + size;
  while (ipa < end) {
    const auto extent = extent_of(ipa);
    if (extent == extents_.end()) {
      return false;
    }
    ipa = extent->first + extent->second.size;
  }
  return true;
}

void Stage2::split(hv_ipa_t ipa) {
  const auto found = extent_of(ipa);
  if (found == extents_.end() || found->first == ipa) {
    return;
  }
  Extent& left = extents_.at(found->first);
  const std::uint64_t kept = ipa - found->first;
  extents_.emplace(ipa, Extent{left.size - kept, left.host + kept, left.flags});
  left.size = kept;
}

hv_return_t Stage2::map(std::uintptr_t host, hv_ipa_t ipa, std::size_t size,
                        hv_memory_flags_t flags) {
  if (!is_valid_range(ipa, size) || !is_aligned(host, granule_bytes_) || host == 0 ||
      size > UINTPTR_MAX - host || (flags & ~kAllFlags) != 0) {
    return HV_BAD_ARGUMENT;
  }
  const auto next = extents_.lower_bound(ipa);
  const bool reaches_next = next != extents_.end() && next->first - ipa < size;
  if (reaches_next || extent_of(ipa) != extents_.end()) {
    return HV_ERROR;
  }
  extents_.emplace(ipa, Extent{size, host, flags});
  return HV_SUCCESS;
}

hv_return_t Stage2::unmap(hv_ipa_t ipa, std::size_t size) {
  if (!is_valid_range(ipa, size) || !is_mapped_throughout(ipa, size)) {
    return HV_BAD_ARGUMENT;
  }
  split(ipa);
  split(ipa + size);
  extents_.erase(extents_.lower_bound(ipa), extents_.lower_bound(ipa + size));
  return HV_SUCCESS;
}

hv_return_t Stage2::protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags) {
  if (!is_valid_range(ipa, size) || !is_mapped_throughout(ipa, size) || (flags & ~kAllFlags) != 0) {
    return HV_BAD_ARGUMENT;
  }
  split(ipa);
  split(ipa + size);
  for (auto it = extents_.lower_bound(ipa); it != extents_.end() && it->first < ipa + size; ++it) {
    it->second.flags = flags;
  }
  return HV_SUCCESS;
}

std::optional<Stage2::Page> Stage2::find(hv_ipa_t ipa) const {
  const auto extent = extent_of(ipa);
  if (extent == extents_.end()) {
    return std::nullopt;
  }
  return Page{extent->second.host + (ipa - extent->first), extent->second.flags};
}

std::vector<Stage2::HostPiece> Stage2::find_host(std::uintptr_t host, std::size_t size) const {
  std::vector<HostPiece> pieces;
  for (const auto& [ipa, extent] : extents_) {
    const std::uintptr_t begin = std::max(host, extent.host);
    const std::uintptr_t end = std::min(host + size, extent.host + extent.size);
    if (begin < end) {
      pieces.push_back({ipa + (begin - extent.host), end - begin});
    }
  }
  return pieces;
}

}  // namespace stasis::hvf::sim
