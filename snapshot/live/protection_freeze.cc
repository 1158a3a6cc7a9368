// A live capture by Vm::protect(): the guest's writes to frozen pages exit with their address; the
// host's own ask a guard. Both wait on the writing thread where there is no room.
//
// A dirty tracker that protects memory in the same way stays in charge of the protection: at the
// moment of the capture it has just collected, so that everything is protected, and it alone gives
// pages back. Its units may be larger than a page; what it gives back is kept aside first.
#include <string>
#include <utility>
#include <vector>

#include "core/text.h"
#include "snapshot/live/copy_before_write.h"
#include "snapshot/live/mechanism_factories.h"
#include "snapshot/trackers/page_chunk.h"

namespace stasis::snapshot::internal {
namespace {

constexpr Access kWritable = Access::kReadWriteExecute;
constexpr Access kProtected = Access::kReadExecute;

class ProtectionFreeze final : public FrozenMemory,
                               private WriteFaultHandler,
                               private HostWriteGuard {
 public:
  ProtectionFreeze(Vm& vm, GuestMemory& memory, DirtyTracker* tracker,
                   std::unique_ptr<CopyBeforeWrite> pages)
      : vm_(vm),
        memory_(memory),
        tracker_handler_(tracker != nullptr ? tracker->write_fault_handler() : nullptr),
        unit_bytes_(tracker != nullptr ? tracker->traits().granularity_bytes
                                       : memory.page_size_bytes()),
        pages_(std::move(pages)) {}
  ~ProtectionFreeze() override { thaw(); }
  ProtectionFreeze(const ProtectionFreeze&) = delete;
  ProtectionFreeze& operator=(const ProtectionFreeze&) = delete;
  ProtectionFreeze(ProtectionFreeze&&) = delete;
  ProtectionFreeze& operator=(ProtectionFreeze&&) = delete;

  [[nodiscard]] std::string_view mechanism() const override { return "protection"; }
  // Permission may only be taken away when every vCPU is out of the guest.
  Result<void> prepare(const GpaRanges& /*ranges*/) override { return {}; }

  Result<void> freeze(const GpaRanges& ranges) override {
    STASIS_TRY(memory_.set_write_guard(*this));
    guarding_ = true;
    frozen_ = split_by_region(memory_, ranges);
    pages_->begin(ranges);
    return tracker_handler_ != nullptr ? Result<void>() : vm_.protect(frozen_, kProtected);
  }

  Result<void> take(GpaRange range, std::span<std::byte> out) override {
    return pages_->take(range, out, [this](GpaRange piece) {
      return tracker_handler_ != nullptr ? Result<void>()
                                         : vm_.protect(std::span(&piece, 1), kWritable);
    });
  }
  [[nodiscard]] Result<void> check() const override { return pages_->check(); }

  void thaw() noexcept override {
    pages_->end();
    if (!std::exchange(guarding_, false)) {
      return;
    }
    memory_.remove_write_guard();
    if (tracker_handler_ == nullptr) {
      // An error would leave pages protected, and the handler, which stays, gives them back.
      (void)vm_.protect(frozen_, kWritable);
    }
  }

  WriteFaultHandler* write_fault_handler() override { return this; }
  [[nodiscard]] LiveCounters counters() const override { return pages_->counters(); }

 private:
  Result<void> on_write_fault(Gpa gpa) override {
    const std::optional<GpaRange> unit = chunk_around(memory_, gpa, unit_bytes_);
    if (!unit) {
      return Error{Errc::kOutOfRange, 0,
                   "write fault at " + hex(gpa.value) + ", which is not guest memory"};
    }
    make_free(*unit);
    return tracker_handler_ != nullptr ? tracker_handler_->on_write_fault(gpa)
                                       : vm_.protect(std::span(&*unit, 1), kWritable);
  }

  void before_host_write(GpaRange range) override {
    const GpaRanges whole =
        intersect(align_outward({range}, memory_.page_size_bytes()), memory_.ranges());
    for (const GpaRange& piece : split_by_region(memory_, whole)) {
      make_free(piece);
    }
  }

  void make_free(GpaRange range) {
    auto asked = CopyBeforeWrite::Asked::kFirst;
    while (pages_->before_write(range, asked) == CopyBeforeWrite::Answer::kMustWait) {
      asked = CopyBeforeWrite::Asked::kAgain;
      pages_->wait_for_room();
    }
  }

  // Constant after construction.
  Vm& vm_;
  GuestMemory& memory_;
  WriteFaultHandler* const tracker_handler_;
  const std::uint64_t unit_bytes_;
  const std::unique_ptr<CopyBeforeWrite> pages_;  // Thread-safe.
  // Of the owner's thread until freeze() has returned, then of whoever thaws.
  std::vector<GpaRange> frozen_;
  bool guarding_ = false;
};

}  // namespace

Result<std::unique_ptr<FrozenMemory>> make_protection_freeze(Vm& vm, GuestMemory& memory,
                                                             const LiveOptions& options,
                                                             DirtyTracker* tracker) {
  STASIS_ASSIGN(std::unique_ptr<CopyBeforeWrite> pages, CopyBeforeWrite::create(memory, options));
  return std::unique_ptr<FrozenMemory>(
      std::make_unique<ProtectionFreeze>(vm, memory, tracker, std::move(pages)));
}

}  // namespace stasis::snapshot::internal
