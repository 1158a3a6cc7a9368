#include "snapshot/restore/pager.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include "core/ranges.h"
#include "core/text.h"

namespace stasis::snapshot::internal {
namespace {

// How long a vCPU that was called out of the guest may take for it before its touch is answered
// with a page of zeros, which the check at its exit then refuses. A signal takes microseconds.
constexpr int kLeaveMilliseconds = 50;

std::uint64_t host_page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

bool is_missing(const RestoreStep& step) {
  return std::holds_alternative<ServeMissing>(step);
}

// The missing extents of a plan; where there are none, the mapped ones, for their payload.
std::vector<SourceExtent> sources_of(const RestorePlan& plan, const PlanInput& input) {
  std::vector<SourceExtent> sources;
  for (const RestoreStep& step : plan.steps) {
    if (const auto* missing = std::get_if<ServeMissing>(&step)) {
      sources.push_back(missing->source);
    }
  }
  if (sources.empty()) {
    return input.extents;
  }
  std::sort(sources.begin(), sources.end(), [](const SourceExtent& a, const SourceExtent& b) {
    return a.range.begin < b.range.begin;
  });
  return sources;
}

}  // namespace

Pager::Pager(GuestMemory& memory, StoredPages stored, std::vector<SourceExtent> sources,
             FaultService service, AccessRecorder* recorder)
    : memory_(memory),
      stored_(std::move(stored)),
      sources_(std::move(sources)),
      service_(service),
      recorder_(recorder) {}

Result<std::unique_ptr<Pager>> Pager::start(const SnapshotChain& chain, const RestorePlan& plan,
                                            const PlanInput& input, GuestMemory& memory,
                                            AccessRecorder* recorder) {
  std::vector<SourceExtent> sources = sources_of(plan, input);
  const bool serves = std::any_of(plan.steps.begin(), plan.steps.end(), is_missing);
  // What is mapped needs no checksum: only its place in the file.
  STASIS_ASSIGN(StoredPages stored,
                StoredPages::open(chain, serves ? std::span(sources) : std::span<SourceExtent>(),
                                  plan.verify));
  std::unique_ptr<Pager> pager(
      new Pager(memory, std::move(stored), std::move(sources), plan.faults, recorder));
  if (serves) {
    STASIS_TRY(pager->begin_serving());
  }
  if (plan.fetch) {
    STASIS_TRY(pager->fetch(*plan.fetch));
  }
  return pager;
}

Pager::~Pager() {
  stop_threads();
  let_go();
}

Result<void> Pager::begin_serving() {
  STASIS_ASSIGN(MissingFaults faults, MissingFaults::open());
  faults_.emplace(std::move(faults));
  stop_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!stop_event_.is_open()) {
    return errno_error(errno, "eventfd");
  }
  GpaRanges missing;
  for (const SourceExtent& source : sources_) {
    missing.push_back(source.range);
  }
  missing = normalize(std::move(missing));
  for (const MemoryRegion& region : memory_.regions()) {
    for (const GpaRange& range : intersect(missing, {region.range})) {
      STASIS_ASSIGN(const std::span<std::byte> bytes, memory_.writable_view(range));
      if (auto registered = faults_->register_range(bytes); !registered) {
        return std::move(registered).error().with_context("guest memory " + describe(range));
      }
      registered_.push_back(bytes);
    }
  }
  for (std::uint32_t i = 0; i < service_.handlers; ++i) {
    STASIS_ASSIGN(HostThread handler,
                  HostThread::start("a thread that provides missing pages", [this] { serve(); }));
    handlers_.push_back(std::move(handler));
  }
  return {};
}

MissingPages Pager::missing_pages() {
  return {&memory_, faults_ ? &*faults_ : nullptr, &stored_, sources_};
}

Result<void> Pager::fetch(const Fetch& fetch) {
  if (!fetch.concurrent) {
    return fetch_pages(missing_pages(), fetch, stopping_);
  }
  background_fetch_ = fetch;
  STASIS_ASSIGN(fetch_thread_, HostThread::start("the thread that fetches recorded pages", [this] {
                  // What it cannot read is not installed: who touches it finds out why.
                  (void)fetch_pages(missing_pages(), *background_fetch_, stopping_).has_value();
                }));
  return {};
}

Result<void> Pager::check() const {
  if (!failed_.load(std::memory_order_relaxed)) {
    return {};
  }
  const MutexLock lock(mutex_);
  return *failure_;
}

void Pager::on_failure(std::function<void()> called) {
  const MutexLock lock(mutex_);
  on_failure_ = std::move(called);
  if (failure_ && on_failure_) {
    on_failure_();
  }
}

void Pager::serve() {
  ChunkCache cache(stored_);
  std::array<pollfd, 2> waits{{{faults_->fd(), POLLIN, 0}, {stop_event_.get(), POLLIN, 0}}};
  for (;;) {
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) {
        continue;  // Says nothing: `revents` is of an earlier call.
      }
      fail(errno_error(errno, "poll"));
      return;
    }
    if ((waits[1].revents & POLLIN) != 0) {
      return;
    }
    if (auto result = answer_waiting(cache); !result) {
      fail(std::move(result).error());
      return;
    }
  }
}

Result<void> Pager::answer_waiting(ChunkCache& cache) {
  for (;;) {
    STASIS_ASSIGN(const std::optional<MissingFault> fault, faults_->read_fault());
    if (!fault) {
      return {};
    }
    STASIS_TRY(answer(*fault, cache));
  }
}

Result<void> Pager::answer(const MissingFault& fault, ChunkCache& cache) {
  const auto regions = memory_.regions();
  const auto region = std::find_if(regions.begin(), regions.end(), [&](const MemoryRegion& r) {
    return fault.page >= r.host && fault.page < r.host + r.range.size;
  });
  STASIS_CHECK(region != regions.end());  // The kernel reports faults of registered ranges only.
  const Gpa gpa = region->range.begin + static_cast<std::uint64_t>(fault.page - region->host);
  if (recorder_ != nullptr) {
    recorder_->note(gpa, fault.is_write ? PopulateFor::kWriting : PopulateFor::kReading);
  }
  const SourceExtent* const source = source_of(sources_, gpa);
  STASIS_CHECK(source != nullptr);
  GpaRange window{gpa, std::min(service_.window_pages * host_page_bytes(),
                                source->range.end().value - gpa.value)};
  if (source->extent.kind == ExtentKind::kZero) {
    return faults_->zero({fault.page, window.size});
  }
  window = stored_.in_one_chunk(*source, window);
  STASIS_ASSIGN(const std::span<const std::byte> bytes, cache.bytes(*source, window));
  return faults_->copy({fault.page, window.size}, bytes.data());
}

void Pager::fail(Error error) {
  {
    const MutexLock lock(mutex_);
    if (failure_) {
      return;  // The first one lets go.
    }
    failure_ = std::move(error).with_context(
        "guest memory: a page that was touched cannot be had, so the guest cannot go on");
    failed_.store(true, std::memory_order_relaxed);
    if (on_failure_) {
      on_failure_();
    }
  }
  // The vCPUs leave, with their touches unanswered.
  pollfd wait{stop_event_.get(), POLLIN, 0};
  (void)::poll(&wait, 1, kLeaveMilliseconds);
  let_go();
}

void Pager::let_go() {
  for (const std::span<std::byte>& range : registered_) {
    (void)faults_->unregister_range(range);
  }
}

void Pager::stop_threads() {
  stopping_.store(true, std::memory_order_relaxed);
  fetch_thread_.join();
  if (!handlers_.empty()) {
    const std::uint64_t one = 1;
    // Writing to an eventfd fails only when its counter overflows.
    STASIS_CHECK(::write(stop_event_.get(), &one, sizeof(one)) == sizeof(one));
    handlers_.clear();
  }
}

Result<void> Pager::install_all() {
  ChunkCache cache(stored_);
  for (const SourceExtent& source : sources_) {
    GpaRange left = source.range;
    while (source.extent.kind != ExtentKind::kZero && left.size != 0) {
      const GpaRange part = stored_.in_one_chunk(source, left);
      STASIS_ASSIGN(const std::span<const std::byte> bytes, cache.bytes(source, part));
      STASIS_ASSIGN(const std::span<std::byte> to, memory_.writable_view(part));
      STASIS_TRY(faults_->copy(to, bytes.data()));
      left = {part.end(), left.size - part.size};
    }
  }
  return {};
}

Result<void> Pager::provide_all() {
  STASIS_TRY(check());
  if (handlers_.empty()) {
    return {};
  }
  if (auto installed = install_all(); !installed) {
    return std::move(installed).error().with_context("load what is missing of guest memory");
  }
  // Only zeros are missing now, and they are what the kernel gives.
  stop_threads();
  let_go();
  return check();
}

}  // namespace stasis::snapshot::internal
