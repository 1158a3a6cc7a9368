// Full comparison: remembers what every page held and looks at all of them again. Sees every write
// whoever made it, and nothing else: a write of the value that was there before leaves the page
// clean, which is exactly what a differential snapshot needs. The oracle of all other trackers.
//
// zero-scan is the same with a single bit a page: whether it held only zeros. It cannot tell one
// content from another, so it reports every page that is not zero, and those that have become so.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/text.h"
#include "snapshot/checksum.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/tracker_factories.h"
#include "snapshot/zero_scan.h"

namespace stasis::snapshot::internal {
namespace {

// What is remembered of one region. refresh() makes page `index` remembered as `page` and says
// whether it differed.
class RegionMemory {
 public:
  virtual ~RegionMemory() = default;
  virtual bool refresh(std::uint64_t index, std::span<const std::byte> page) = 0;
};

class RegionCopy final : public RegionMemory {
 public:
  // Null if the host cannot reserve that much.
  static std::unique_ptr<RegionMemory> create(std::uint64_t size_bytes) {
    // From calloc(): untouched pages are zero and cost nothing, and neither do the zero pages of
    // the guest, because equal pages are not copied.
    auto* bytes = static_cast<std::byte*>(std::calloc(size_bytes, 1));
    return bytes == nullptr ? nullptr : std::unique_ptr<RegionMemory>(new RegionCopy(bytes));
  }
  bool refresh(std::uint64_t index, std::span<const std::byte> page) override {
    std::byte* const copy = bytes_.get() + index * page.size();
    if (std::memcmp(copy, page.data(), page.size()) == 0) {
      return false;
    }
    std::memcpy(copy, page.data(), page.size());
    return true;
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
  };
  explicit RegionCopy(std::byte* bytes) : bytes_(bytes) {}
  std::unique_ptr<std::byte[], Free> bytes_;
};

class RegionHashes final : public RegionMemory {
 public:
  explicit RegionHashes(std::uint64_t pages) : hashes_(pages) {}
  bool refresh(std::uint64_t index, std::span<const std::byte> page) override {
    const std::array<std::uint64_t, 2> hash = wide_checksum(page);
    if (hashes_[index] == hash) {
      return false;
    }
    hashes_[index] = hash;
    return true;
  }

 private:
  std::vector<std::array<std::uint64_t, 2>> hashes_;  // A new one is the hash of nothing: differs.
};

class RegionZeros final : public RegionMemory {
 public:
  explicit RegionZeros(std::uint64_t pages) : nonzero_(pages) {}
  bool refresh(std::uint64_t index, std::span<const std::byte> page) override {
    const bool was = nonzero_[index];
    nonzero_[index] = !is_zero(page);
    return was || nonzero_[index];
  }

 private:
  std::vector<bool> nonzero_;
};

std::string_view name_of(CompareBy by) {
  switch (by) {
    case CompareBy::kBytes:
      return "compare";
    case CompareBy::kHash:
      return "compare-hash";
    case CompareBy::kZero:
      return "zero-scan";
  }
  return "compare";
}

class CompareTracker final : public DirtyTracker {
 public:
  CompareTracker(GuestMemory& memory, CompareBy by)
      : memory_(memory),
        by_(by),
        traits_{std::string(name_of(by)), true, by != CompareBy::kZero, memory.page_size_bytes()} {}

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    for (const MemoryRegion& region : memory_.regions()) {
      STASIS_ASSIGN(auto remembered, remember(region));
      remembered_.push_back(std::move(remembered));
    }
    (void)look();
    STASIS_TRY(memory_.check_intact());
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    GpaRanges dirty = look();
    STASIS_TRY(memory_.check_intact());
    return dirty;
  }

  Result<void> overlook(const GpaRanges& ranges,
                        const std::function<Result<void>()>& write) override {
    STASIS_TRY(state_.check_can_collect());
    STASIS_TRY(write());
    for (std::size_t r = 0; r < remembered_.size(); ++r) {
      for (const GpaRange& range : intersect(ranges, {memory_.regions()[r].range})) {
        for_each_page(r, range, [](Gpa, bool) {});
      }
    }
    return memory_.check_intact();
  }

  Result<void> disarm() override {
    remembered_.clear();
    state_.set(false);
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  Result<std::unique_ptr<RegionMemory>> remember(const MemoryRegion& region) {
    std::unique_ptr<RegionMemory> memory;
    if (by_ == CompareBy::kHash) {
      memory = std::make_unique<RegionHashes>(region.range.size / memory_.page_size_bytes());
    } else if (by_ == CompareBy::kZero) {
      memory = std::make_unique<RegionZeros>(region.range.size / memory_.page_size_bytes());
    } else {
      memory = RegionCopy::create(region.range.size);
    }
    if (memory == nullptr) {
      remembered_.clear();
      return Error{Errc::kIo, ENOMEM,
                   "tracker 'compare': no room for a copy of guest memory " +
                       describe(region.range) + "; use compare-hash or a smaller guest"};
    }
    return memory;
  }

  // All pages that differ from what is remembered; remembers them as they are now.
  GpaRanges look() {
    const std::uint64_t page_bytes = memory_.page_size_bytes();
    GpaRanges dirty;
    for (std::size_t r = 0; r < remembered_.size(); ++r) {
      for_each_page(r, memory_.regions()[r].range, [&](Gpa begin, bool differs) {
        if (!differs) {
          return;
        }
        if (!dirty.empty() && dirty.back().end() == begin) {
          dirty.back().size += page_bytes;
        } else {
          dirty.push_back({begin, page_bytes});
        }
      });
    }
    return dirty;
  }

  // Calls visit(page, whether it differs from what is remembered) for the pages of `range`, which
  // lies in region `r`; remembers them as they are now.
  template <typename Visit>
  void for_each_page(std::size_t r, GpaRange range, Visit visit) {
    const MemoryRegion& region = memory_.regions()[r];
    const std::uint64_t page_bytes = memory_.page_size_bytes();
    const std::uint64_t first = range.begin.value - region.range.begin.value;
    for (std::uint64_t offset = first; offset < first + range.size; offset += page_bytes) {
      const std::span<const std::byte> page(region.host + offset, page_bytes);
      visit(region.range.begin + offset, remembered_[r]->refresh(offset / page_bytes, page));
    }
  }

  GuestMemory& memory_;
  CompareBy by_;
  TrackerTraits traits_;
  ArmedState state_;
  std::vector<std::unique_ptr<RegionMemory>> remembered_;  // One a region, in order.
};

}  // namespace

std::unique_ptr<DirtyTracker> make_compare_tracker(GuestMemory& memory, CompareBy by) {
  return std::make_unique<CompareTracker>(memory, by);
}

}  // namespace stasis::snapshot::internal
