#include "session/residency.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::session {
namespace {

constexpr MonotonicNs kBegin = 1000;

TEST(MomentOfShare, IsTheEndOfTheFirstLookThatSawEnough) {
  const std::vector<ResidencySample> samples = {
      {2000, 2100, 10}, {3000, 3100, 89}, {4000, 4200, 90}, {5000, 5100, 100}};
  const auto moment = moment_of_share(samples, kBegin, 90);
  ASSERT_TRUE(moment);
  EXPECT_EQ(moment->at, 4200);
  EXPECT_EQ(moment->error_ns, 1200);  // Since the look that had not seen enough began.
  EXPECT_EQ(moment->pages, 100U);
}

TEST(MomentOfShare, RoundsTheShareUp) {
  const std::vector<ResidencySample> samples = {{2000, 2100, 9}, {3000, 3100, 11}};
  EXPECT_EQ(moment_of_share(samples, kBegin, 90)->at, 3100);  // 9.9 pages are 10.
  EXPECT_EQ(moment_of_share(samples, kBegin, 80)->at, 2100);  // 8.8 pages are 9.
  EXPECT_EQ(moment_of_share(samples, kBegin, 100)->at, 3100);
}

TEST(MomentOfShare, OfMemoryThatWasThereAtFirstIsAsUncertainAsTheRestoreIsLong) {
  const std::vector<ResidencySample> samples = {{2000, 2100, 100}, {3000, 3100, 100}};
  const auto moment = moment_of_share(samples, kBegin, 90);
  ASSERT_TRUE(moment);
  EXPECT_EQ(moment->at, 2100);
  EXPECT_EQ(moment->error_ns, 1100);
}

TEST(MomentOfShare, IsUnknownWithoutSamplesOrPagesOrWhenTheHostTookSomeAway) {
  EXPECT_FALSE(moment_of_share({}, kBegin, 90));
  EXPECT_FALSE(moment_of_share({{2000, 2100, 0}}, kBegin, 90));
  EXPECT_FALSE(moment_of_share({{2000, 2100, 50}, {3000, 3100, 40}}, kBegin, 90));
}

// ---- On this host ----

class Residency : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kRegionBytes = std::uint64_t{64} << 20U;

  void SetUp() override {
    const std::vector<RegionSpec> specs = {
        {.range = {Gpa{0}, kRegionBytes}, .huge_pages = HugePages::kNever},
        {.range = {Gpa{4 * kRegionBytes}, kRegionBytes}, .huge_pages = HugePages::kNever}};
    memory_ = must(GuestMemory::create(specs, page_bytes_));
    if (const auto pages = resident_pages(*memory_);
        !pages && pages.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << pages.error().message;
    }
  }
  void touch(std::uint64_t first_page, std::uint64_t pages) {
    for (std::uint64_t page = first_page; page < first_page + pages; ++page) {
      must(memory_->write_object(Gpa{4 * kRegionBytes + page * page_bytes_}, char{1}));
    }
  }

  std::uint64_t page_bytes_ = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::unique_ptr<GuestMemory> memory_;
};

TEST_F(Residency, CountsExactlyThePagesThatWereTouched) {
  EXPECT_EQ(must(resident_pages(*memory_)), 0U);
  touch(0, 3);
  touch(100, 700);
  EXPECT_EQ(must(resident_pages(*memory_)), 703U);
  must(memory_->replace_with_zero({Gpa{4 * kRegionBytes}, 2 * page_bytes_}));
  EXPECT_EQ(must(resident_pages(*memory_)), 701U);
}

TEST_F(Residency, SamplesBeginBeforeAndEndAfterWhatHappensInBetween) {
  touch(0, 10);
  // An hour: only the first and the last look, so that nothing depends on time.
  const auto sampler = must(ResidencySampler::start(*memory_, std::chrono::hours(1)));
  touch(10, 90);
  const auto samples = must(sampler->stop());
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_EQ(samples.front().resident_pages, 10U);
  EXPECT_EQ(samples.back().resident_pages, 100U);
  EXPECT_LE(samples.front().begin, samples.front().end);
  EXPECT_LE(samples.front().end, samples.back().begin);
}

TEST_F(Residency, SamplesGrowWithTheMemory) {
  const auto sampler = must(ResidencySampler::start(*memory_, std::chrono::nanoseconds(1)));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    touch(i, 1);
  }
  const auto samples = must(sampler->stop());
  EXPECT_GE(samples.size(), 2U);
  for (std::size_t i = 1; i < samples.size(); ++i) {
    EXPECT_GE(samples[i].resident_pages, samples[i - 1].resident_pages);
    EXPECT_GE(samples[i].begin, samples[i - 1].end);
  }
  EXPECT_EQ(samples.back().resident_pages, 1000U);
}

TEST_F(Residency, AFinishedMemoryDoesNotHurtASamplerThatGoesOn) {
  const auto sampler = must(ResidencySampler::start(*memory_, std::chrono::nanoseconds(1)));
  touch(0, 100);
  memory_.reset();
  EXPECT_GE(must(sampler->stop()).size(), 2U);
}

}  // namespace
}  // namespace stasis::session
