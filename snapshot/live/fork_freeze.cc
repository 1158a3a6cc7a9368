// A live capture from a copy of this process that a fork made: the kernel copies what the guest
// writes. Sees whoever writes, needs no thread and no permission, and takes memory that a file is
// mapped into; but the kernel bounds its copies by nothing, and the fork itself, in the pause,
// takes time in proportion to what is resident.
#include <optional>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/linux/frozen_copy.h"
#include "snapshot/live/mechanism_factories.h"

namespace stasis::snapshot::internal {
namespace {

class ForkFreeze final : public FrozenMemory {
 public:
  explicit ForkFreeze(GuestMemory& memory) : memory_(memory) {}

  [[nodiscard]] std::string_view mechanism() const override { return "fork"; }
  Result<void> prepare(const GpaRanges& /*ranges*/) override { return {}; }
  Result<void> freeze(const GpaRanges& /*ranges*/) override {
    STASIS_ASSIGN(FrozenCopy copy, FrozenCopy::take());
    copy_.emplace(std::move(copy));
    return {};
  }
  Result<void> take(GpaRange range, std::span<std::byte> out) override {
    STASIS_ASSIGN(const std::span<const std::byte> here, memory_.view(range));
    return copy_->read(here.data(), out);
  }
  [[nodiscard]] Result<void> check() const override { return {}; }
  // Nobody takes any more: the copy may go.
  void thaw() noexcept override { copy_.reset(); }
  [[nodiscard]] LiveCounters counters() const override { return {}; }

 private:
  GuestMemory& memory_;
  std::optional<FrozenCopy> copy_;  // Constant between freeze() and thaw().
};

}  // namespace

Result<std::unique_ptr<FrozenMemory>> make_fork_freeze(GuestMemory& memory) {
  for (const MemoryRegion& region : memory.regions()) {
    if (region.backing == BackingKind::kMemfd || region.backing == BackingKind::kSharedFile ||
        region.huge_pages == HugePages::kHugetlb) {
      return Error{Errc::kNotSupported, 0,
                   "live capture by 'fork': guest memory " + describe(region.range) +
                       " is backed by " + std::string(name_of(region.backing)) + " with " +
                       std::string(name_of(region.huge_pages)) +
                       " huge pages; only private memory of ordinary pages is copied when it is "
                       "written: use --live-by userfaultfd"};
    }
  }
  return std::unique_ptr<FrozenMemory>(std::make_unique<ForkFreeze>(memory));
}

}  // namespace stasis::snapshot::internal
