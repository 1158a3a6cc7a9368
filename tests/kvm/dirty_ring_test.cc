// The rings' logic against an imitation of the kernel's side, which keeps the kernel's rules and
// complains when they are broken; no KVM is needed.
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/dirty_ring_log.h"
#include "tests/support/must.h"

namespace stasis::kvm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kPage = 4096;
constexpr Gpa kLow{0};
constexpr Gpa kHigh{std::uint64_t{1} << 32U};
constexpr std::uint64_t kSlotPages = 64;

// A page is logged once until it is protected again; a reset gives back, in order, the entries that
// were marked for it, and protects their pages.
class FakeKernel final : public RingKernel {
 public:
  static constexpr std::size_t kEntries = 16;
  explicit FakeKernel(std::size_t vcpus) : rings_(vcpus) {
    for (Ring& ring : rings_) {
      ring.entries.resize(kEntries);
    }
  }

  std::span<kvm_dirty_gfn> entries(std::size_t vcpu) { return rings_[vcpu].entries; }

  // A guest's write. False: the ring is full, the vCPU exits, and the write has not happened.
  bool write(std::size_t vcpu, std::uint32_t slot, std::uint64_t page) {
    const MutexLock lock(mutex_);
    std::vector<bool>& writable = writable_[slot];
    if (!logging_ || writable[page]) {
      return true;
    }
    Ring& ring = rings_[vcpu];
    if (ring.published - ring.reset == kEntries) {
      return false;
    }
    kvm_dirty_gfn& entry = ring.entries[ring.published++ % kEntries];
    entry.slot = slot;
    entry.offset = page;
    std::atomic_ref(entry.flags).store(KVM_DIRTY_GFN_F_DIRTY, std::memory_order_release);
    writable[page] = true;
    return true;
  }
  // As no kernel would.
  void publish(std::size_t vcpu, kvm_dirty_gfn entry) {
    entry.flags = KVM_DIRTY_GFN_F_DIRTY;
    rings_[vcpu].entries[rings_[vcpu].published++ % kEntries] = entry;
  }

  [[nodiscard]] std::vector<GpaRange> slots() const override {
    return {{kLow, kSlotPages * kPage}, {kHigh, kSlotPages * kPage}};
  }
  Result<void> set_logging(bool on) override {
    const MutexLock lock(mutex_);
    logging_ = on;
    for (std::vector<bool>& slot : writable_) {
      slot.assign(kSlotPages, !on);
    }
    return {};
  }
  Result<void> reset_rings() override {
    const MutexLock lock(mutex_);
    ++resets;
    if (fail_resets) {
      return Error{Errc::kBackend, 5, "reset refused"};
    }
    for (Ring& ring : rings_) {
      while (ring.reset < ring.published) {
        kvm_dirty_gfn& entry = ring.entries[ring.reset % kEntries];
        const std::atomic_ref flags(entry.flags);
        if (flags.load(std::memory_order_acquire) != KVM_DIRTY_GFN_F_RESET) {
          break;
        }
        if (entry.slot < writable_.size() && entry.offset < kSlotPages) {
          writable_[entry.slot][entry.offset] = false;
        }
        flags.store(0, std::memory_order_relaxed);
        ++ring.reset;
      }
    }
    return {};
  }

  int resets = 0;
  bool fail_resets = false;

 private:
  struct Ring {
    std::vector<kvm_dirty_gfn> entries;
    std::uint64_t published = 0, reset = 0;
  };
  Mutex mutex_;
  std::vector<Ring> rings_;
  bool logging_ = false;
  std::vector<std::vector<bool>> writable_{std::vector<bool>(kSlotPages),
                                           std::vector<bool>(kSlotPages)};
};

class DirtyRingTest : public ::testing::Test {
 protected:
  void make(std::size_t vcpus) {
    kernel_ = std::make_unique<FakeKernel>(vcpus);
    log_ = std::make_unique<DirtyRingLog>(*kernel_);
    for (std::size_t vcpu = 0; vcpu < vcpus; ++vcpu) {
      log_->add_ring(kernel_->entries(vcpu));
    }
  }
  // As a vCPU does: when its ring is full it has it emptied and tries again.
  void write(std::size_t vcpu, std::uint32_t slot, std::uint64_t page) {
    while (!kernel_->write(vcpu, slot, page)) {
      must(log_->empty());
    }
  }
  static GpaRange page_at(Gpa slot, std::uint64_t page) { return {slot + page * kPage, kPage}; }

  std::unique_ptr<FakeKernel> kernel_;
  std::unique_ptr<DirtyRingLog> log_;
};

TEST_F(DirtyRingTest, PagesOfAllVcpusAndSlotsAreCollectedOnce) {
  make(2);
  must(log_->start());
  write(0, 0, 3);
  write(1, 1, 0);
  write(0, 1, 63);
  write(1, 0, 4);
  write(1, 0, 4);
  EXPECT_EQ(must(log_->collect()),
            (GpaRanges{{kLow + 3 * kPage, 2 * kPage}, page_at(kHigh, 0), page_at(kHigh, 63)}));
  EXPECT_THAT(must(log_->collect()), IsEmpty());
  write(1, 0, 4);
  EXPECT_EQ(must(log_->collect()), (GpaRanges{page_at(kLow, 4)})) << "it was protected again";
}

TEST_F(DirtyRingTest, AFullRingIsEmptiedAndLosesNothing) {
  make(1);
  must(log_->start());
  for (std::uint64_t page = 0; page < kSlotPages; ++page) {
    write(0, 0, page);
  }
  EXPECT_EQ(log_->times_full(), 3U);
  EXPECT_EQ(must(log_->collect()), (GpaRanges{{kLow, kSlotPages * kPage}}));
}

TEST_F(DirtyRingTest, NothingIsAskedOfTheKernelWhenNothingWasWritten) {
  make(3);
  must(log_->start());
  EXPECT_THAT(must(log_->collect()), IsEmpty());
  EXPECT_EQ(kernel_->resets, 0);
}

TEST_F(DirtyRingTest, WhatWasLoggedBeforeTheStartDoesNotCount) {
  make(1);
  must(log_->start());
  write(0, 0, 1);
  must(log_->stop());
  write(0, 0, 2);
  must(log_->start());
  EXPECT_THAT(must(log_->collect()), IsEmpty());
  write(0, 0, 2);
  EXPECT_EQ(must(log_->collect()), (GpaRanges{page_at(kLow, 2)}));
}

TEST_F(DirtyRingTest, CallsOutOfOrderAreRefused) {
  make(1);
  EXPECT_EQ(log_->collect().error().code, Errc::kInvalidArgument);
  EXPECT_EQ(log_->stop().error().code, Errc::kInvalidArgument);
  must(log_->start());
  EXPECT_EQ(log_->start().error().code, Errc::kInvalidArgument);
}

// Entries that were taken and not given back: their pages stay writable, so no later collection can
// be believed.
TEST_F(DirtyRingTest, AFailedResetSpoilsEveryCollectionUntilTheLogStartsAnew) {
  make(1);
  must(log_->start());
  write(0, 0, 1);
  kernel_->fail_resets = true;
  EXPECT_THAT(log_->collect().error().message, HasSubstr("reset refused"));
  kernel_->fail_resets = false;
  EXPECT_THAT(log_->collect().error().message, HasSubstr("reset refused"));
  must(log_->stop());
  must(log_->start());
  write(0, 0, 1);
  EXPECT_EQ(must(log_->collect()), (GpaRanges{page_at(kLow, 1)}));
}

TEST_F(DirtyRingTest, APageThatDoesNotExistIsAnErrorAndNeverDropped) {
  const std::vector<std::pair<std::uint32_t, std::uint64_t>> pages = {
      {2, 0}, {0, kSlotPages}, {1, UINT64_MAX}, {UINT32_MAX, UINT64_MAX}};
  for (const auto& [slot, page] : pages) {
    make(1);
    must(log_->start());
    kvm_dirty_gfn entry{};
    entry.slot = slot;
    entry.offset = page;
    kernel_->publish(0, entry);
    EXPECT_THAT(log_->collect().error().message, HasSubstr("does not exist"));
  }
}

TEST_F(DirtyRingTest, RandomWritesAreCollectedWhateverTheOrder) {
  make(4);
  std::mt19937_64 random(3);  // NOLINT(cert-msc51-cpp): the same test every time.
  must(log_->start());
  for (int round = 0; round < 200; ++round) {
    GpaRanges written;
    for (std::uint64_t i = random() % 60; i > 0; --i) {
      const auto slot = static_cast<std::uint32_t>(random() % 2);
      const std::uint64_t page = random() % kSlotPages;
      write(random() % 4, slot, page);
      written.push_back(page_at(slot == 0 ? kLow : kHigh, page));
    }
    ASSERT_EQ(must(log_->collect()), normalize(written)) << "round " << round;
  }
  EXPECT_GT(log_->times_full(), 0U);
}

// vCPUs write, have full rings emptied and are collected from, all at the same time.
TEST_F(DirtyRingTest, NothingIsLostBetweenCollectionsWhileVcpusWrite) {
  make(3);
  must(log_->start());
  std::vector<GpaRanges> written(3);
  std::vector<std::thread> threads;
  std::atomic<int> writing = 3;
  for (std::size_t vcpu = 0; vcpu < written.size(); ++vcpu) {
    threads.emplace_back([&, vcpu] {
      std::mt19937_64 random(vcpu);
      for (int i = 0; i < 3000; ++i) {
        const std::uint64_t page = random() % kSlotPages;
        write(vcpu, 1, page);
        written[vcpu].push_back(page_at(kHigh, page));
      }
      --writing;
    });
  }
  GpaRanges seen;
  while (writing.load() > 0) {
    seen = unite(seen, must(log_->collect()));
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  seen = unite(seen, must(log_->collect()));
  for (GpaRanges& ranges : written) {
    EXPECT_THAT(subtract(normalize(ranges), seen), IsEmpty());
  }
}

}  // namespace
}  // namespace stasis::kvm
