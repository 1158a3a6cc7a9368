#include "session/residency.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/unique_fd.h"

namespace stasis::session {

namespace {

// Where guest memory lies in this process. Value; stays harmless when the memory is gone.
struct HostRange {
  std::uint64_t first_page = 0;
  std::uint64_t pages = 0;
};

constexpr std::size_t kSamplesMax = std::size_t{1} << 18U;

// Reads /proc/self/pagemap: one 64-bit word a page, whose top bit says "present" (Linux,
// Documentation/admin-guide/mm/pagemap.rst).
class PageMap {
 public:
  static Result<PageMap> open(const GuestMemory& memory) {
    PageMap map;
    map.fd_ = UniqueFd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (!map.fd_.is_open()) {
      Error error = errno_error(errno, "residency: open /proc/self/pagemap");
      error.code = errno == ENOENT ? Errc::kNotSupported : error.code;
      return error;
    }
    const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    for (const MemoryRegion& region : memory.regions()) {
      // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the address as a number.
      const auto address = reinterpret_cast<std::uintptr_t>(region.host);
      map.ranges_.push_back({address / page_bytes, region.range.size / page_bytes});
    }
    return map;
  }

  [[nodiscard]] Result<ResidencySample> look() const {
    ResidencySample sample;
    sample.begin = host_clock().now();
    for (const HostRange& range : ranges_) {
      STASIS_ASSIGN(const std::uint64_t pages, count(range));
      sample.resident_pages += pages;
    }
    sample.end = host_clock().now();
    return sample;
  }

 private:
  [[nodiscard]] Result<std::uint64_t> count(HostRange range) const {
    constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
    std::array<std::uint64_t, 8192> words;  // NOLINT(*-member-init): read before it is used.
    std::uint64_t present = 0;
    while (range.pages > 0) {
      const std::uint64_t wanted = std::min<std::uint64_t>(range.pages, words.size());
      const ssize_t got = ::pread(fd_.get(), words.data(), wanted * sizeof(std::uint64_t),
                                  static_cast<off_t>(range.first_page * sizeof(std::uint64_t)));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < static_cast<ssize_t>(sizeof(std::uint64_t))) {
        return errno_error(got < 0 ? errno : EIO, "residency: read /proc/self/pagemap");
      }
      const std::uint64_t pages = static_cast<std::uint64_t>(got) / sizeof(std::uint64_t);
      present += static_cast<std::uint64_t>(
          std::count_if(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(pages),
                        [](std::uint64_t word) { return (word & kPresent) != 0; }));
      range.first_page += pages;
      range.pages -= pages;
    }
    return present;
  }

  UniqueFd fd_;
  std::vector<HostRange> ranges_;
};

class ThreadedSampler final : public ResidencySampler {
 public:
  ThreadedSampler(PageMap map, std::chrono::nanoseconds interval, ResidencySample first)
      : map_(std::move(map)), interval_(interval), samples_{first} {}
  ~ThreadedSampler() override { end(); }
  ThreadedSampler(const ThreadedSampler&) = delete;
  ThreadedSampler& operator=(const ThreadedSampler&) = delete;

  // Once, before all else.
  Result<void> begin() {
    STASIS_ASSIGN(thread_, HostThread::start("the residency sampler", [this] { repeat(); }));
    return {};
  }

  Result<std::vector<ResidencySample>> stop() override {
    end();
    STASIS_TRY(outcome_);
    STASIS_ASSIGN(const ResidencySample last, map_.look());
    samples_.push_back(last);
    return std::move(samples_);
  }

 private:
  void end() {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    wanted_.notify_one();
    thread_.join();
  }
  void repeat() {
    // What comes after that many is one long step, which the error of the moment then says.
    while (!wait() && samples_.size() < kSamplesMax) {
      Result<ResidencySample> sample = map_.look();
      if (!sample) {
        outcome_ = std::move(sample).error();
        return;
      }
      samples_.push_back(*sample);
    }
  }
  // For the interval, or until stopped; says whether stopped.
  bool wait() {
    const auto deadline = deadline_after(interval_);
    const MutexLock lock(mutex_);
    while (!stopping_ && wanted_.wait_until(mutex_, deadline) != std::cv_status::timeout) {
    }
    return stopping_;
  }

  // Constant after construction.
  PageMap map_;
  std::chrono::nanoseconds interval_;
  // The sampler's thread only, until it is joined.
  std::vector<ResidencySample> samples_;
  Result<void> outcome_;
  Mutex mutex_;
  ConditionVariable wanted_;
  bool stopping_ STASIS_GUARDED_BY(mutex_) = false;
  HostThread thread_;  // Last: it uses all of the above.
};

}  // namespace

std::optional<ResidencyMoment> moment_of_share(const std::vector<ResidencySample>& samples,
                                               MonotonicNs restore_begin, std::uint32_t percent) {
  if (samples.empty() || samples.back().resident_pages == 0) {
    return std::nullopt;
  }
  const std::uint64_t pages = samples.back().resident_pages;
  const bool lost_some =
      std::any_of(samples.begin(), samples.end(),
                  [&](const ResidencySample& sample) { return sample.resident_pages > pages; });
  if (lost_some) {
    return std::nullopt;
  }
  // Rounded up, without overflow: pages are fewer than 2^52.
  const std::uint64_t enough = (pages * percent + 99) / 100;
  const auto first =
      std::find_if(samples.begin(), samples.end(),
                   [&](const ResidencySample& sample) { return sample.resident_pages >= enough; });
  const MonotonicNs not_before = first == samples.begin() ? restore_begin : std::prev(first)->begin;
  return ResidencyMoment{.at = first->end, .error_ns = first->end - not_before, .pages = pages};
}

Result<std::uint64_t> resident_pages(const GuestMemory& memory) {
  STASIS_ASSIGN(const PageMap map, PageMap::open(memory));
  STASIS_ASSIGN(const ResidencySample sample, map.look());
  return sample.resident_pages;
}

Result<std::unique_ptr<ResidencySampler>> ResidencySampler::start(
    const GuestMemory& memory, std::chrono::nanoseconds interval) {
  STASIS_ASSIGN(PageMap map, PageMap::open(memory));
  STASIS_ASSIGN(const ResidencySample first, map.look());
  auto sampler = std::make_unique<ThreadedSampler>(std::move(map), interval, first);
  STASIS_TRY(sampler->begin());
  return std::unique_ptr<ResidencySampler>(std::move(sampler));
}

}  // namespace stasis::session
