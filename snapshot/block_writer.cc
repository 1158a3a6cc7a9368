#include "snapshot/block_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace stasis::snapshot::internal {

BlockWriter::Block& BlockWriter::block(std::uint64_t index) {
  const auto [found, is_new] = blocks_.try_emplace(index);
  if (is_new) {
    if (spare_.empty()) {
      found->second.bytes = std::make_unique_for_overwrite<std::byte[]>(kFileBlockBytes);  // NOLINT
    } else {
      found->second = std::move(spare_.back());
      found->second.filled = 0;
      spare_.pop_back();
    }
  }
  return found->second;
}

Result<void> BlockWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::uint64_t index = offset / kFileBlockBytes;
    const std::uint64_t at = offset % kFileBlockBytes;
    const auto part = bytes.first(std::min<std::uint64_t>(bytes.size(), kFileBlockBytes - at));
    std::byte* to = nullptr;
    {
      const MutexLock lock(mutex_);
      to = block(index).bytes.get() + at;
    }
    // The block stays: it goes only when all of it is there, and this part is not.
    std::memcpy(to, part.data(), part.size());
    Block full;
    {
      const MutexLock lock(mutex_);
      Block& here = block(index);
      here.filled += part.size();
      if (here.filled == kFileBlockBytes) {
        full = std::move(here);
        blocks_.erase(index);
      }
    }
    if (full.bytes != nullptr) {
      STASIS_TRY(put(index, full));
      const MutexLock lock(mutex_);
      spare_.push_back(std::move(full));
    }
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return {};
}

Result<void> BlockWriter::put(std::uint64_t index, const Block& block) {
  const std::uint64_t begin = index * kFileBlockBytes;
  const std::span<const std::byte> piece(block.bytes.get(), block.filled);
  STASIS_TRY(file_.write_at(begin, {&piece, 1}));
  if (writeback_ == Writeback::kEarly) {
    file_.start_writeback(begin, block.filled);
  }
  return {};
}

Result<void> BlockWriter::finish() {
  const MutexLock lock(mutex_);
  STASIS_CHECK(blocks_.size() <= 1);
  for (const auto& [index, block] : blocks_) {
    STASIS_TRY(put(index, block));
  }
  blocks_.clear();
  return {};
}

}  // namespace stasis::snapshot::internal
