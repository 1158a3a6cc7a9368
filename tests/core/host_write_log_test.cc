#include "core/host_write_log.h"

#include <array>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kPage = 4096;
constexpr std::array<GpaRange, 2> kRanges = {
    {{Gpa{0}, 200 * kPage}, {Gpa{1000 * kPage}, 65 * kPage}}};

TEST(HostWriteLog, MarksEveryPageThatAWriteTouches) {
  HostWriteLog log(kRanges, kPage);
  log.mark({Gpa{63 * kPage + 4095}, 2});
  EXPECT_THAT(log.collect(), ElementsAre(GpaRange{Gpa{63 * kPage}, 2 * kPage}));
  EXPECT_THAT(log.collect(), IsEmpty()) << "collect() must forget";
}

TEST(HostWriteLog, IgnoresWhatIsNotMemory) {
  HostWriteLog log(kRanges, kPage);
  log.mark(
      {Gpa{199 * kPage}, 900 * kPage});  // Out of the first range, over the hole, into the second.
  log.mark({Gpa{5000 * kPage}, kPage});
  log.mark({Gpa{kPage}, 0});
  EXPECT_THAT(log.collect(), ElementsAre(GpaRange{Gpa{199 * kPage}, kPage},
                                         GpaRange{Gpa{1000 * kPage}, 65 * kPage}));
}

TEST(HostWriteLog, ClearForgetsEverything) {
  HostWriteLog log(kRanges, kPage);
  log.mark({Gpa{0}, 2000 * kPage});
  log.clear();
  EXPECT_THAT(log.collect(), IsEmpty());
}

TEST(HostWriteLog, AgreesWithAlignedRangesOnRandomWrites) {
  std::mt19937_64 random(5);
  for (const std::uint64_t page : {std::uint64_t{4096}, std::uint64_t{16384}}) {
    const std::array<GpaRange, 2> ranges = {{{Gpa{0}, 300 * page}, {Gpa{301 * page}, 129 * page}}};
    const GpaRanges memory(ranges.begin(), ranges.end());
    HostWriteLog log(ranges, page);
    for (int round = 0; round < 300; ++round) {
      GpaRanges writes;
      for (std::uint64_t i = 0; i < random() % 20; ++i) {
        writes.push_back({Gpa{random() % (440 * page)}, random() % (3 * page)});
        log.mark(writes.back());
      }
      ASSERT_EQ(log.collect(), intersect(align_outward(normalize(writes), page), memory));
    }
  }
}

TEST(HostWriteLog, LosesNothingWhenThreadsMarkAtOnce) {
  HostWriteLog log(kRanges, kPage);
  std::vector<std::thread> threads;
  for (std::uint64_t first = 0; first < 4; ++first) {
    threads.emplace_back([&log, first] {
      for (std::uint64_t page = first; page < 200; page += 4) {
        log.mark({Gpa{page * kPage}, 1});
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(log.collect(), ElementsAre(GpaRange{Gpa{0}, 200 * kPage}));
}

}  // namespace
}  // namespace stasis
