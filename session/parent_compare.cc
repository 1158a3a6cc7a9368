#include "session/parent_compare.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace stasis::session::internal {

namespace {

constexpr std::uint64_t kStepBytes = std::uint64_t{1} << 20U;

class ParentCompare final : public DirtyTracker {
 public:
  ParentCompare(const GuestMemory& memory, const snapshot::SnapshotChain& parent)
      : memory_(memory), parent_(parent) {
    traits_.name = "compare-with-parent";
    traits_.sees_host_writes = true;
    traits_.granularity_bytes = memory.page_size_bytes();
  }

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }
  Result<void> arm() override { return {}; }
  Result<void> disarm() override { return {}; }
  WriteFaultHandler* write_fault_handler() override { return nullptr; }

  Result<GpaRanges> collect() override {
    STASIS_ASSIGN(const snapshot::ChainContents contents, snapshot::ChainContents::open(parent_));
    snapshot::ReadScratch scratch;
    std::vector<std::byte> saved(kStepBytes);
    GpaRanges dirty;
    for (const MemoryRegion& region : memory_.regions()) {
      for (std::uint64_t at = 0; at < region.range.size; at += kStepBytes) {
        const GpaRange step{region.range.begin + at, std::min(kStepBytes, region.range.size - at)};
        const std::span<std::byte> then = std::span(saved).first(step.size);
        STASIS_TRY(contents.read(step, then, snapshot::CheckChunks::kYes, scratch));
        STASIS_ASSIGN(const std::span<const std::byte> now, memory_.view(step));
        compare(step, now, then, dirty);
      }
    }
    STASIS_TRY(memory_.check_intact());
    return normalize(std::move(dirty));
  }

 private:
  void compare(GpaRange step, std::span<const std::byte> now, std::span<const std::byte> then,
               GpaRanges& dirty) const {
    if (std::memcmp(now.data(), then.data(), now.size()) == 0) {
      return;
    }
    const std::uint64_t page = memory_.page_size_bytes();
    for (std::uint64_t at = 0; at < step.size; at += page) {
      if (std::memcmp(now.data() + at, then.data() + at, page) != 0) {
        dirty.push_back({step.begin + at, page});
      }
    }
  }

  const GuestMemory& memory_;
  const snapshot::SnapshotChain& parent_;
  TrackerTraits traits_;
};

}  // namespace

std::unique_ptr<DirtyTracker> make_parent_compare(const GuestMemory& memory,
                                                  const snapshot::SnapshotChain& parent) {
  return std::make_unique<ParentCompare>(memory, parent);
}

}  // namespace stasis::session::internal
