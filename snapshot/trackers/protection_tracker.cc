// Write protection through Vm::protect(): the guest's first write to a chunk of pages exits with
// its address, is noted, and the chunk becomes writable until the next collect().
#include <string>

#include "core/host_write_log.h"
#include "core/text.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/page_chunk.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

// Machine maps RAM with all permissions; so this is what "unprotected" means.
constexpr Access kWritable = Access::kReadWriteExecute;
constexpr Access kProtected = Access::kReadExecute;

// Threads: as DirtyTracker and WriteFaultHandler demand. on_write_fault() only touches `written_`
// and the Vm, both thread-safe; collect() runs when no fault can come, so noting a page and giving
// it back need not be one step.
class ProtectionTracker final : public DirtyTracker, public WriteFaultHandler {
 public:
  ProtectionTracker(Vm& vm, GuestMemory& memory, const TrackerOptions& options)
      : vm_(vm),
        memory_(memory),
        chunk_bytes_(memory.page_size_bytes() * options.unprotect_pages),
        regions_(split_by_region(memory, memory.ranges())),
        written_(regions_, memory.page_size_bytes()),
        traits_{"protection", false, options.unprotect_pages == 1, chunk_bytes_} {}
  ~ProtectionTracker() override {
    // A destructor cannot report; the VM is then still protected and every write an error, so it
    // cannot go unnoticed.
    (void)disarm();
  }
  ProtectionTracker(const ProtectionTracker&) = delete;
  ProtectionTracker& operator=(const ProtectionTracker&) = delete;
  ProtectionTracker(ProtectionTracker&&) = delete;
  ProtectionTracker& operator=(ProtectionTracker&&) = delete;

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    written_.clear();
    if (auto result = vm_.protect(regions_, kProtected); !result) {
      // Some ranges may be protected already; without a tracker nobody would answer their faults.
      (void)vm_.protect(regions_, kWritable);
      return std::move(result).error().with_context("arm the protection tracker");
    }
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    GpaRanges dirty = written_.collect();
    if (dirty.empty()) {
      return dirty;
    }
    if (auto result = vm_.protect(split_by_region(memory_, dirty), kProtected); !result) {
      // These pages may still be writable: they stay dirty until a collect() can protect them.
      for (const GpaRange& range : dirty) {
        written_.mark(range);
      }
      return std::move(result).error().with_context("re-arm the protection tracker");
    }
    return dirty;
  }

  Result<void> disarm() override {
    if (!state_.armed()) {
      return {};
    }
    STASIS_TRY(vm_.protect(regions_, kWritable));
    state_.set(false);
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return this; }

  Result<void> on_write_fault(Gpa gpa) override {
    const std::optional<GpaRange> chunk = chunk_around(memory_, gpa, chunk_bytes_);
    if (!chunk) {
      return Error{Errc::kOutOfRange, 0,
                   "write fault at " + hex(gpa.value) + ", which is not guest memory"};
    }
    written_.mark(*chunk);
    return vm_.protect(std::span(&*chunk, 1), kWritable);
  }

 private:
  // Constant after construction.
  Vm& vm_;
  GuestMemory& memory_;
  std::uint64_t chunk_bytes_;
  std::vector<GpaRange> regions_;
  // Thread-safe.
  HostWriteLog written_;
  // Owner thread only.
  TrackerTraits traits_;
  ArmedState state_;
};

}  // namespace

std::unique_ptr<DirtyTracker> make_protection_tracker(Vm& vm, GuestMemory& memory,
                                                      const TrackerOptions& options) {
  return std::make_unique<ProtectionTracker>(vm, memory, options);
}

}  // namespace stasis::snapshot::internal
