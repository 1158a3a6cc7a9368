#include "guests/linux/vm/vma_map.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/check.h"

namespace stasis::linux_guest::vm {
namespace {

bool continues(const Vma& low, const Vma& high) {
  return low.end == high.begin && low.protection == high.protection &&
         low.sharing == high.sharing && low.may_write == high.may_write &&
         low.grows_down == high.grows_down && low.file == high.file && low.name == high.name &&
         (low.file == nullptr || low.file_offset + low.size() == high.file_offset);
}

}  // namespace

const Vma* VmaMap::find_from(std::uint64_t address) const {
  auto at = vmas_.upper_bound(address);
  if (at != vmas_.begin() && std::prev(at)->second.end > address) {
    --at;
  }
  return at == vmas_.end() ? nullptr : &at->second;
}

const Vma* VmaMap::find(std::uint64_t address) const {
  const Vma* vma = find_from(address);
  return vma != nullptr && vma->contains(address) ? vma : nullptr;
}

bool VmaMap::is_free(std::uint64_t begin, std::uint64_t end) const {
  const Vma* vma = find_from(begin);
  return vma == nullptr || vma->begin >= end;
}

bool VmaMap::is_mapped(std::uint64_t begin, std::uint64_t end) const {
  while (begin < end) {
    const Vma* vma = find(begin);
    if (vma == nullptr) {
      return false;
    }
    begin = vma->end;
  }
  return true;
}

std::optional<std::uint64_t> VmaMap::find_hole(std::uint64_t size, std::uint64_t floor,
                                               std::uint64_t ceiling) const {
  std::uint64_t top = ceiling;
  auto at = vmas_.lower_bound(ceiling);
  for (;;) {
    const bool has_lower = at != vmas_.begin();
    const std::uint64_t bottom = has_lower ? std::max(std::prev(at)->second.end, floor) : floor;
    if (top >= bottom && top - bottom >= size) {
      return top - size;
    }
    if (!has_lower || std::prev(at)->first <= floor) {
      return std::nullopt;
    }
    --at;
    top = std::min(top, at->first);
  }
}

void VmaMap::insert(Vma vma) {
  STASIS_CHECK(vma.begin < vma.end && is_free(vma.begin, vma.end));
  auto next = vmas_.upper_bound(vma.begin);
  if (next != vmas_.begin() && continues(std::prev(next)->second, vma)) {
    const auto low = std::prev(next);
    vma.begin = low->first;
    vma.file_offset = low->second.file_offset;
    vmas_.erase(low);
  }
  if (next != vmas_.end() && continues(vma, next->second)) {
    vma.end = next->second.end;
    vmas_.erase(next);
  }
  vmas_.emplace(vma.begin, std::move(vma));
}

void VmaMap::cut(std::uint64_t address) {
  const Vma* found = find(address);
  if (found == nullptr || found->begin == address) {
    return;
  }
  Vma& low = vmas_.at(found->begin);
  Vma high = low;
  high.begin = address;
  if (high.file != nullptr) {
    high.file_offset += address - low.begin;
  }
  low.end = address;
  vmas_.emplace(address, std::move(high));
}

std::vector<Vma> VmaMap::remove(std::uint64_t begin, std::uint64_t end) {
  cut(begin);
  cut(end);
  std::vector<Vma> removed;
  auto at = vmas_.lower_bound(begin);
  while (at != vmas_.end() && at->first < end) {
    removed.push_back(std::move(at->second));
    at = vmas_.erase(at);
  }
  return removed;
}

std::vector<Vma> VmaMap::all() const {
  std::vector<Vma> out;
  out.reserve(vmas_.size());
  for (const auto& entry : vmas_) {
    out.push_back(entry.second);
  }
  return out;
}

}  // namespace stasis::linux_guest::vm
