#include "snapshot/reset/resetter.h"

#include <string>
#include <utility>

#include "core/clock.h"
#include "snapshot/reset/clean_pages.h"

namespace stasis::snapshot {

class Resetter::Parts {
 public:
  Parts(Machine& machine, DirtyAccumulator& dirty, std::unique_ptr<const SnapshotChain> chain,
        std::unique_ptr<internal::CleanPages> clean)
      : machine_(machine), dirty_(dirty), chain_(std::move(chain)), clean_(std::move(clean)) {}

  [[nodiscard]] const std::string& path() const { return chain_->leaf().path(); }
  Machine& machine() { return machine_; }

  Result<ResetReport> reset() {
    ResetReport report;
    const MonotonicNs begin = host_clock().now();
    // The state first: loading it may complete a vCPU's last instruction, which may write memory.
    STASIS_TRY(machine_.load_state(chain_->manifest().machine));
    const MonotonicNs loaded = host_clock().now();
    STASIS_ASSIGN(const GpaRanges pages, dirty_.collect());
    const MonotonicNs collected = host_clock().now();
    const std::uint64_t read_before = clean_->read_bytes();
    STASIS_TRY(clean_->hold(pages));
    const MonotonicNs held = host_clock().now();
    internal::CleanPages::Written written;
    STASIS_TRY(dirty_.put_back([&]() -> Result<void> {
      written = clean_->put_back(pages);
      // Pages of a file that was cut short under the guest read zero: nobody wrote them.
      return machine_.memory().check_files();
    }));
    const MonotonicNs end = host_clock().now();
    report.dirty_bytes = total_bytes(pages);
    report.copied_bytes = written.copied_bytes;
    report.zeroed_bytes = written.zeroed_bytes;
    report.read_bytes = clean_->read_bytes() - read_before;
    report.state_ns = loaded - begin;
    report.collect_ns = collected - loaded;
    report.read_ns = held - collected;
    report.copy_ns = end - held;
    report.total_ns = end - begin;
    return report;
  }

 private:
  Machine& machine_;
  DirtyAccumulator& dirty_;
  const std::unique_ptr<const SnapshotChain> chain_;
  const std::unique_ptr<internal::CleanPages> clean_;
};

Resetter::Resetter(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Resetter::~Resetter() = default;

Result<std::unique_ptr<Resetter>> Resetter::create(Machine& machine, DirtyAccumulator& dirty,
                                                   const SnapshotChain& chain) {
  const std::string context = "prepare resets to '" + chain.leaf().path() + "'";
  const std::size_t saved = chain.manifest().machine.vcpus.size();
  if (saved != machine.vcpu_count()) {
    return Error{Errc::kMismatch, 0,
                 context + ": it is of " + std::to_string(saved) + " vCPUs, but the machine has " +
                     std::to_string(machine.vcpu_count())};
  }
  auto clean = internal::CleanPages::open(chain, machine.memory());
  if (!clean) {
    return std::move(clean).error().with_context(context);
  }
  return std::unique_ptr<Resetter>(
      new Resetter(std::make_unique<Parts>(machine, dirty, chain.share(), *std::move(clean))));
}

Result<ResetReport> Resetter::reset() {
  Machine& machine = parts_->machine();
  const std::string context = "reset to '" + parts_->path() + "'";
  if (!machine.is_paused()) {
    return Error{Errc::kInvalidArgument, 0, context + ": the machine is running; pause it first"};
  }
  Result<ResetReport> report = parts_->reset();
  if (report) {
    machine.pardon();
    return report;
  }
  const Error failure = std::move(report).error().with_context(context);
  Error why = failure;
  machine.condemn(std::move(why).with_context(
      "the guest cannot go on, because it was not reset wholly; reset it again, or restore it "
      "anew"));
  return failure;
}

}  // namespace stasis::snapshot
