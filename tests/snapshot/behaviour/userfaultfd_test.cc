// Who sleeps in a write fault, and what wakes them: the foundation of the trackers that
// write-protect the host's mapping.
#include "snapshot/linux/userfaultfd.h"

#include <poll.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/guest_memory.h"
#include "mock/toy_memory.h"
#include "tests/support/must.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 4;

class UserfaultfdTracker : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto features = query_userfaultfd();
    if (!features || !features->write_protect) {
      GTEST_SKIP() << (features ? "no write protection" : features.error().to_string());
    }
    memory_ = must(GuestMemory::create(
        std::vector<RegionSpec>{
            {{Gpa{0}, kPages * kPage}, BackingKind::kAnonymous, HugePages::kNever, {}}},
        kPage));
    for (std::uint64_t page = 0; page < kPages; ++page) {  // A page that is there can be protected.
      must(memory_->write_object(Gpa{page * kPage}, std::uint64_t{1}));
    }
    ram_ = std::make_unique<mock::ToyMemory>(*memory_, Access::kReadWriteExecute);
    uffd_ = std::make_unique<Userfaultfd>(must(Userfaultfd::open(*features)));
    must(uffd_->register_range(all()));
    must(uffd_->protect(all()));
  }
  void TearDown() override {
    uffd_.reset();  // Wakes whoever a failed test has left.
    for (std::thread& thread : writers_) {
      thread.join();
    }
  }

  std::span<std::byte> all() { return {memory_->regions()[0].host, kPages * kPage}; }

  // Starts a thread that writes.
  template <typename Write>
  void writer(Write write) {
    writers_.emplace_back([this, write] {
      write(*ram_);
      done_.fetch_add(1);
    });
  }
  // Until so many write faults have been reported.
  void await_faults(std::size_t count) {
    std::size_t seen = 0;
    while (seen < count) {
      pollfd wait{uffd_->fd(), POLLIN, 0};
      ::poll(&wait, 1, -1);
      seen += must(uffd_->read_faults()).size();
    }
  }
  // Whether all writers come back; they have long enough for any host.
  bool all_come_back() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (done_.load() < writers_.size() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    return done_.load() == writers_.size();
  }

  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<mock::ToyMemory> ram_;
  std::unique_ptr<Userfaultfd> uffd_;
  std::vector<std::thread> writers_;
  std::atomic<std::size_t> done_ = 0;
};

TEST_F(UserfaultfdTracker, UnregisteringWakesWhoWaitsToWrite) {
  writer([](mock::ToyMemory& ram) { ram.store(Gpa{8}, 8, 7); });
  await_faults(1);
  EXPECT_EQ(done_.load(), 0U);
  must(uffd_->unregister_range(all()));
  EXPECT_TRUE(all_come_back());
  EXPECT_EQ(must(memory_->read_object<std::uint64_t>(Gpa{8})), 7U);
}

// ThreadSanitizer counts releases: 2^14 on each of 255 clocks, and then stops all threads that hold
// one to start anew. A vCPU that sleeps in the middle of a store must not be one of them.
TEST_F(UserfaultfdTracker, AStoreOfTheMockThatWaitsHoldsUpNoOtherThread) {
  writer([](mock::ToyMemory& ram) { ram.store(Gpa{0}, 8, 7); });
  writer([](mock::ToyMemory& ram) { ram.store(Gpa{kPage + 1}, 3, 7); });
  writer([](mock::ToyMemory& ram) { ram.fetch_add(Gpa{2 * kPage}, 6); });
  writer([](mock::ToyMemory& ram) { ram.compare_exchange(Gpa{3 * kPage}, 1, 7); });
  await_faults(4);
  std::mutex mutex;
  std::uint64_t releases = 0;
  while (releases < std::uint64_t{300} << 14U) {
    const std::lock_guard lock(mutex);
    ++releases;
  }
  EXPECT_EQ(done_.load(), 0U);
  must(uffd_->unprotect(all()));
  EXPECT_TRUE(all_come_back());
  for (const std::uint64_t at : {std::uint64_t{0}, 2 * kPage, 3 * kPage}) {
    EXPECT_EQ(must(memory_->read_object<std::uint64_t>(Gpa{at})), 7U) << at;
  }
}

}  // namespace
}  // namespace stasis::snapshot::internal
