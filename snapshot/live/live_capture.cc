#include "snapshot/live/live_capture.h"

#include <utility>

#include "core/clock.h"
#include "snapshot/capture_facts.h"
#include "snapshot/live/frozen_memory.h"
#include "snapshot/live/mechanism_catalog.h"

namespace stasis::snapshot {
namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);
// How soon a wish to stop from outside is noticed.
constexpr std::chrono::milliseconds kLookEvery{20};

// Frozen memory as the writer reads it.
class FrozenSource final : public MemorySource {
 public:
  FrozenSource(const GuestMemory& memory, internal::FrozenMemory& frozen)
      : memory_(memory), frozen_(frozen) {}

  [[nodiscard]] std::vector<ManifestRegion> regions() const override {
    return manifest_regions(memory_);
  }
  [[nodiscard]] std::uint32_t page_size_bytes() const override {
    return static_cast<std::uint32_t>(memory_.page_size_bytes());
  }
  Result<std::span<const std::byte>> view(GpaRange range,
                                          std::vector<std::byte>& buffer) const override {
    if (buffer.size() < range.size) {
      buffer.resize(range.size);
    }
    const auto bytes = std::span(buffer).first(range.size);
    STASIS_TRY(frozen_.take(range, bytes));
    return std::span<const std::byte>(bytes);
  }
  [[nodiscard]] Result<void> check_views() const override {
    STASIS_TRY(frozen_.check());
    return memory_.check_files();
  }

 private:
  const GuestMemory& memory_;
  internal::FrozenMemory& frozen_;
};

std::int64_t since(MonotonicNs begin) {
  return host_clock().now() - begin;
}

}  // namespace

LiveCapture::LiveCapture(Machine& machine, LiveRequest request)
    : machine_(machine),
      request_(std::move(request)),
      cancel_from_outside_(request_.capture.writer.supervision.cancel) {
  Supervision& supervision = request_.capture.writer.supervision;
  supervision.cancel = &cancelled_;
  supervision.progress = [this, told = std::move(supervision.progress)](std::uint64_t done,
                                                                        std::uint64_t total) {
    look_outside();
    if (told) {
      told(done, total);
    }
  };
}

void LiveCapture::look_outside() noexcept {
  if (cancel_from_outside_ != nullptr && cancel_from_outside_->load(std::memory_order_relaxed)) {
    cancel();
  }
}

LiveCapture::~LiveCapture() {
  cancel();
  thread_.join();
  if (frozen_ != nullptr) {
    frozen_->thaw();
  }
  if (!take_handler_away()) {
    // The vCPUs cannot be stopped, and may still call it: better lost than freed under them.
    (void)frozen_.release();
  }
}

Result<void> LiveCapture::check_request() const {
  STASIS_TRY(check_live_options(request_.live));
  if ((request_.dirty == nullptr) != (request_.tracker == nullptr)) {
    return Error{
        Errc::kInvalidArgument, 0,
        "live capture: pages that are tracked need their tracker, and the other way round"};
  }
  if (request_.capture.writer.parent != nullptr && request_.dirty == nullptr) {
    return Error{Errc::kInvalidArgument, 0,
                 "save '" + request_.target +
                     "': a live differential snapshot needs a dirty tracker: without one, finding "
                     "what changed takes as long as reading the parent, and the guest would stand "
                     "still for it; arm one with --tracker, or save without --live"};
  }
  return {};
}

Result<std::unique_ptr<LiveCapture>> LiveCapture::begin(Machine& machine, FileSystem& file_system,
                                                        LiveRequest request) {
  std::unique_ptr<LiveCapture> capture(new LiveCapture(machine, std::move(request)));
  STASIS_TRY(capture->check_request());
  STASIS_TRY(capture->start(file_system));
  return capture;
}

Result<void> LiveCapture::start(FileSystem& file_system) {
  look_outside();
  if (request_.capture.writer.supervision.cancelled()) {
    return cancelled_error();
  }
  const Capabilities& capabilities = machine_.capabilities();
  // Before anything is done to the guest: most of what can be wrong shows here.
  STASIS_ASSIGN(
      SnapshotWriter writer,
      SnapshotWriter::begin(file_system, request_.target,
                            facts_of(capabilities, {}, request_.capture), request_.capture.writer));
  // Pages that a restore brings in when they are touched: memory has one userfaultfd at a time, and
  // a fork of missing pages reads zeros.
  STASIS_TRY(machine_.memory().provide_all());
  STASIS_ASSIGN(frozen_, internal::make_frozen_memory(machine_, request_.tracker, request_.live));
  const bool is_diff = request_.capture.writer.parent != nullptr;
  const MonotonicNs begin = host_clock().now();
  STASIS_TRY(frozen_->prepare(is_diff ? GpaRanges() : machine_.memory().ranges()));
  pause_.prepare_ns = since(begin);

  const bool ran = !machine_.is_paused();
  const MonotonicNs pause_begin = host_clock().now();
  STASIS_TRY(machine_.pause(kPauseTimeout));
  pause_.stop_ns = since(pause_begin);
  Result<void> stood_still = stand_still(writer);
  if (!stood_still) {
    frozen_->thaw();
    if (Result<void> away = take_handler_away(); !away) {
      return away;
    }
  }
  if (ran) {
    STASIS_TRY(machine_.resume());
  }
  pause_.paused_ns = ran ? since(pause_begin) : 0;
  STASIS_TRY(std::move(stood_still));
  auto shared = std::make_shared<SnapshotWriter>(std::move(writer));  // std::function copies.
  STASIS_ASSIGN(thread_, HostThread::start("the thread of a live capture",
                                           [this, shared] { write(std::move(*shared)); }));
  return {};
}

// All that needs the guest to stand still.
Result<void> LiveCapture::stand_still(SnapshotWriter& writer) {
  MonotonicNs begin = host_clock().now();
  // The state first: saving it may complete a vCPU's last instruction, which may write memory.
  STASIS_ASSIGN(MachineState state, machine_.save_state());
  SnapshotFacts facts = facts_of(machine_.capabilities(), state.vcpus, request_.capture);
  writer.put_moment(facts.created_ns, std::move(facts.cpu_features));
  writer.put_machine(std::move(state));
  pause_.state_ns = since(begin);
  begin = host_clock().now();
  ranges_ = machine_.memory().ranges();
  if (request_.dirty != nullptr) {
    STASIS_ASSIGN(GpaRanges dirty, request_.dirty->collect());
    if (request_.capture.writer.parent != nullptr) {
      ranges_ = std::move(dirty);
    }
  }
  pause_.collect_ns = since(begin);
  begin = host_clock().now();
  STASIS_TRY(frozen_->freeze(ranges_));
  if (WriteFaultHandler* const handler = frozen_->write_fault_handler(); handler != nullptr) {
    STASIS_TRY(machine_.set_write_fault_handler(handler));
    has_handler_ = true;
  }
  pause_.freeze_ns = since(begin);
  return request_.at_the_moment ? request_.at_the_moment() : Result<void>();
}

void LiveCapture::write(SnapshotWriter writer) {
  const MonotonicNs begin = host_clock().now();
  Result<WriteReport> outcome = write_all(std::move(writer));
  const MutexLock lock(mutex_);
  write_ns_ = since(begin);
  outcome_.emplace(std::move(outcome));
  ended_.notify_all();
}

// Takes the writer along: when it has failed, what it wrote is removed before anybody is told.
Result<WriteReport> LiveCapture::write_all(SnapshotWriter writer) {
  const FrozenSource source(machine_.memory(), *frozen_);
  Result<void> put = request_.capture.writer.parent != nullptr ? writer.put_memory(source, ranges_)
                                                               : writer.put_memory(source);
  frozen_->thaw();  // Nothing is needed of the guest any more; the disk may take its time.
  STASIS_TRY(std::move(put));
  return std::move(writer).commit();
}

Result<void> LiveCapture::take_handler_away() {
  if (!has_handler_) {
    return {};
  }
  const bool ran = !machine_.is_paused();
  STASIS_TRY(machine_.pause(kPauseTimeout));
  STASIS_TRY(machine_.set_write_fault_handler(
      request_.tracker != nullptr ? request_.tracker->write_fault_handler() : nullptr));
  has_handler_ = false;
  return ran ? machine_.resume() : Result<void>();
}

bool LiveCapture::is_done() {
  const MutexLock lock(mutex_);
  return outcome_.has_value();
}

std::string_view LiveCapture::mechanism() const {
  return frozen_->mechanism();
}

LiveCounters LiveCapture::counters() const {
  return frozen_->counters();
}

Result<LiveReport> LiveCapture::finish() {
  {
    const MutexLock lock(mutex_);
    while (!outcome_) {
      (void)ended_.wait_until(mutex_, deadline_after(kLookEvery));
      look_outside();
    }
  }
  thread_.join();
  Result<void> away = take_handler_away();
  const MutexLock lock(mutex_);
  if (!*outcome_) {
    return std::move(*outcome_).error();
  }
  if (request_.dirty != nullptr) {
    request_.dirty->saved();
  }
  STASIS_TRY(std::move(away));
  LiveReport report;
  report.written = **outcome_;
  report.mechanism = frozen_->mechanism();
  report.pause = pause_;
  report.counters = frozen_->counters();
  report.write_ns = write_ns_;
  return report;
}

}  // namespace stasis::snapshot
