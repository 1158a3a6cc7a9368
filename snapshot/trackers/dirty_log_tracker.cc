// The hypervisor's own logs of guest writes.
#include <string>

#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

// Hypervisors log whole pages at the moment they allow a write. Whether that is also the moment of
// a write they say themselves; what the host writes never passes through them.
class DirtyLogTracker final : public DirtyTracker {
 public:
  DirtyLogTracker(DirtyLog& log, DirtyLogKind kind, const GuestMemory& memory)
      : log_(log),
        traits_{.name = std::string(name_of(kind)),
                .sees_host_writes = false,
                .exact = log.is_exact(),
                .granularity_bytes = memory.page_size_bytes(),
                .collects_while_running = log.collects_while_running()} {}
  ~DirtyLogTracker() override { (void)disarm(); }
  DirtyLogTracker(const DirtyLogTracker&) = delete;
  DirtyLogTracker& operator=(const DirtyLogTracker&) = delete;
  DirtyLogTracker(DirtyLogTracker&&) = delete;
  DirtyLogTracker& operator=(DirtyLogTracker&&) = delete;

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    STASIS_TRY(log_.start());
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    STASIS_ASSIGN(GpaRanges dirty, log_.collect());
    return normalize(std::move(dirty));
  }

  Result<void> disarm() override {
    if (!state_.armed()) {
      return {};
    }
    STASIS_TRY(log_.stop());
    state_.set(false);
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  DirtyLog& log_;
  TrackerTraits traits_;
  ArmedState state_;
};

}  // namespace

std::unique_ptr<DirtyTracker> make_dirty_log_tracker(DirtyLog& log, DirtyLogKind kind,
                                                     GuestMemory& memory) {
  return std::make_unique<DirtyLogTracker>(log, kind, memory);
}

}  // namespace stasis::snapshot::internal
