#include "experiments/floor/raw_trackers.h"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <xxhash.h>

#include "experiments/floor/floors.h"
#include "experiments/floor/fresh_memory.h"
#include "experiments/floor/write_faults.h"
#include "snapshot/linux/frozen_copy.h"
#include "snapshot/linux/pagemap.h"
#include "snapshot/linux/userfaultfd.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::experiments {
namespace {

namespace linux_host = snapshot::internal;

constexpr std::size_t kPage = 4096;

std::uint64_t pages_in(const linux_host::HostRanges& ranges) {
  std::uint64_t bytes = 0;
  for (const std::span<std::byte> range : ranges) {
    bytes += range.size();
  }
  return bytes / kPage;
}

// What all of them have.
class OfMemory : public RawTracker {
 public:
  explicit OfMemory(std::span<std::byte> memory) : memory_(memory) {}

 protected:
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }

 private:
  std::span<std::byte> memory_;
};

class Compare final : public OfMemory {
 public:
  using OfMemory::OfMemory;
  Result<void> arm() override {
    STASIS_ASSIGN(FreshMemory copy, FreshMemory::map(Backing::kHugePages, memory().size()));
    std::memcpy(copy.bytes().data(), memory().data(), memory().size());
    copy_.emplace(std::move(copy));
    return {};
  }
  Result<std::uint64_t> collect() override {
    std::uint64_t pages = 0;
    for (std::size_t at = 0; at < memory().size(); at += kPage) {
      std::byte* before = &copy_->bytes()[at];
      if (std::memcmp(before, &memory()[at], kPage) != 0) {
        std::memcpy(before, &memory()[at], kPage);
        ++pages;
      }
    }
    return pages;
  }

 private:
  std::optional<FreshMemory> copy_;
};

class Hash final : public OfMemory {
 public:
  using OfMemory::OfMemory;
  Result<void> arm() override {
    hashes_.resize(memory().size() / kPage);
    STASIS_TRY(collect());
    return {};
  }
  Result<std::uint64_t> collect() override {
    std::uint64_t pages = 0;
    for (std::size_t page = 0; page < hashes_.size(); ++page) {
      const XXH128_hash_t hash = XXH3_128bits(&memory()[page * kPage], kPage);
      if (XXH128_isEqual(hash, hashes_[page]) == 0) {
        hashes_[page] = hash;
        ++pages;
      }
    }
    return pages;
  }

 private:
  std::vector<XXH128_hash_t> hashes_;
};

class ZeroScan final : public OfMemory {
 public:
  using OfMemory::OfMemory;
  Result<void> arm() override { return {}; }
  Result<std::uint64_t> collect() override {
    std::size_t nonzero = 0;
    (void)zero_scan_ns(memory(), nonzero);
    return nonzero;
  }
};

class Residency final : public OfMemory {
 public:
  Residency(std::span<std::byte> memory, linux_host::Pagemap pagemap)
      : OfMemory(memory), pagemap_(std::move(pagemap)) {}
  Result<void> arm() override { return {}; }
  Result<std::uint64_t> collect() override {
    linux_host::HostRanges found;
    STASIS_TRY(pagemap_.find_resident(memory(), found));
    return pages_in(found);
  }

 private:
  linux_host::Pagemap pagemap_;
};

class SoftDirty final : public OfMemory {
 public:
  SoftDirty(std::span<std::byte> memory, linux_host::Pagemap pagemap)
      : OfMemory(memory), pagemap_(std::move(pagemap)) {}
  Result<void> arm() override { return linux_host::clear_soft_dirty(); }
  Result<std::uint64_t> collect() override {
    linux_host::HostRanges found;
    STASIS_TRY(pagemap_.find_soft_dirty(memory(), found));
    STASIS_TRY(linux_host::clear_soft_dirty());
    return pages_in(found);
  }

 private:
  linux_host::Pagemap pagemap_;
};

class PagemapScan final : public OfMemory {
 public:
  PagemapScan(std::span<std::byte> memory, linux_host::Pagemap pagemap,
              linux_host::UserfaultfdFeatures features)
      : OfMemory(memory), pagemap_(std::move(pagemap)), features_(features) {}
  Result<void> arm() override {
    STASIS_ASSIGN(linux_host::Userfaultfd uffd,
                  linux_host::Userfaultfd::open(features_, linux_host::WriteFaults::kLetThrough));
    uffd_.emplace(std::move(uffd));
    STASIS_TRY(uffd_->register_range(memory()));
    return uffd_->protect(memory());
  }
  Result<std::uint64_t> collect() override {
    linux_host::HostRanges found;
    STASIS_TRY(pagemap_.take_written(memory(), found));
    return pages_in(found);
  }

 private:
  linux_host::Pagemap pagemap_;
  linux_host::UserfaultfdFeatures features_;
  std::optional<linux_host::Userfaultfd> uffd_;
};

class AnsweredFaults final : public OfMemory {
 public:
  using OfMemory::OfMemory;
  Result<void> arm() override {
    STASIS_ASSIGN(faults_, WriteFaultThread::start(memory()));
    return {};
  }
  Result<std::uint64_t> collect() override {
    STASIS_ASSIGN(const std::vector<std::byte*> pages, faults_->take());
    return pages.size();
  }

 private:
  std::unique_ptr<WriteFaultThread> faults_;
};

class Fork final : public OfMemory {
 public:
  Fork(std::span<std::byte> memory, linux_host::Pagemap pagemap)
      : OfMemory(memory), pagemap_(std::move(pagemap)) {}
  Result<void> arm() override {
    STASIS_ASSIGN(linux_host::FrozenCopy copy, linux_host::FrozenCopy::take());
    before_.emplace(std::move(copy));
    return {};
  }
  Result<std::uint64_t> collect() override {
    std::uint64_t pages = 0;
    {
      STASIS_ASSIGN(const linux_host::Pagemap theirs,
                    linux_host::Pagemap::open_of(before_->child()));
      std::array<std::uint64_t, 512> here{};
      std::array<std::uint64_t, 512> there{};
      for (std::size_t at = 0; at < memory().size(); at += here.size() * kPage) {
        STASIS_ASSIGN(const std::size_t count, pagemap_.read_entries(memory().subspan(at), here));
        STASIS_TRY(theirs.read_entries(memory().subspan(at), there));
        for (std::size_t i = 0; i < count; ++i) {
          pages += linux_host::pagemap_entry::frame(here.at(i)) !=
                           linux_host::pagemap_entry::frame(there.at(i))
                       ? 1U
                       : 0U;
        }
      }
    }
    STASIS_TRY(arm());
    return pages;
  }

 private:
  linux_host::Pagemap pagemap_;
  std::optional<linux_host::FrozenCopy> before_;
};

class KernelsLog final : public RawTracker {
 public:
  explicit KernelsLog(BareWriter& writer) : writer_(writer) {}
  Result<void> arm() override { return writer_.start_log(); }
  Result<std::uint64_t> collect() override { return writer_.collect_log(); }

 private:
  BareWriter& writer_;
};

}  // namespace

Result<std::unique_ptr<RawTracker>> make_raw_tracker(std::string_view mechanism,
                                                     std::span<std::byte> memory,
                                                     BareWriter& writer) {
  using Made = std::unique_ptr<RawTracker>;
  if (kernel_log_of(mechanism) != KernelLog::kNone) {
    return Made(std::make_unique<KernelsLog>(writer));
  }
  if (mechanism == "compare") {
    return Made(std::make_unique<Compare>(memory));
  }
  if (mechanism == "compare-hash") {
    return Made(std::make_unique<Hash>(memory));
  }
  if (mechanism == "zero-scan") {
    return Made(std::make_unique<ZeroScan>(memory));
  }
  if (mechanism == "userfaultfd") {
    return Made(std::make_unique<AnsweredFaults>(memory));
  }
  if (mechanism_of(mechanism).empty()) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "no mechanism is called '" + std::string(mechanism) + "'"};
  }
  STASIS_ASSIGN(linux_host::Pagemap pagemap, linux_host::Pagemap::open());
  if (mechanism == "residency") {
    return Made(std::make_unique<Residency>(memory, std::move(pagemap)));
  }
  if (mechanism == "soft-dirty") {
    if (const Availability marks = linux_host::probe_soft_dirty(); !marks.available) {
      return Error{.code = Errc::kNotSupported, .message = "soft-dirty: " + marks.reason};
    }
    return Made(std::make_unique<SoftDirty>(memory, std::move(pagemap)));
  }
  if (mechanism == "fork") {
    return Made(std::make_unique<Fork>(memory, std::move(pagemap)));
  }
  STASIS_TRY(pagemap.check_scan());
  STASIS_ASSIGN(const linux_host::UserfaultfdFeatures features,
                linux_host::query_userfaultfd(linux_host::WriteFaults::kLetThrough));
  return Made(std::make_unique<PagemapScan>(memory, std::move(pagemap), features));
}

}  // namespace stasis::experiments
