#include "snapshot/restore/held_chunks.h"

#include <algorithm>
#include <utility>

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kHeldBytesMax = std::uint64_t{2} << 20U;

}  // namespace

const HeldChunk* HeldChunks::find(const PayloadSource& source, std::uint64_t index) {
  const auto found = std::find_if(chunks_.begin(), chunks_.end(), [&](const HeldChunk& chunk) {
    return chunk.source == &source && chunk.index == index;
  });
  if (found == chunks_.end()) {
    return nullptr;
  }
  chunks_.splice(chunks_.begin(), chunks_, found);
  return &chunks_.front();
}

HeldChunk& HeldChunks::make(const PayloadSource& source, std::uint64_t index,
                            std::uint64_t size_bytes) {
  std::list<HeldChunk> fresh;
  while (!chunks_.empty() && bytes_ + size_bytes > kHeldBytesMax) {
    bytes_ -= chunks_.back().bytes.size();
    // Its memory serves again.
    fresh.splice(fresh.begin(), chunks_, std::prev(chunks_.end()));
  }
  if (fresh.empty()) {
    fresh.emplace_back();
  }
  chunks_.splice(chunks_.begin(), fresh, fresh.begin());
  HeldChunk& chunk = chunks_.front();
  chunk.source = &source;
  chunk.index = index;
  chunk.bytes.resize(size_bytes);
  bytes_ += size_bytes;
  return chunk;
}

void HeldChunks::forget(const HeldChunk& chunk) {
  const auto found = std::find_if(chunks_.begin(), chunks_.end(),
                                  [&](const HeldChunk& held) { return &held == &chunk; });
  if (found != chunks_.end()) {
    bytes_ -= found->bytes.size();
    chunks_.erase(found);
  }
}

}  // namespace stasis::snapshot::internal
