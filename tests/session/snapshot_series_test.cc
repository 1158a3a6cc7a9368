// Series of snapshots on the mock: what is kept can be restored, and the disk does not fill.
#include "session/snapshot_series.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/snapshot_chain.h"
#include "tests/session/mock_session.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Series : public MockSession {
 protected:
  void SetUp() override {
    MockSession::SetUp();
    auto launched = launch("counter");
    ASSERT_OK(launched);
    session_ = *std::move(launched);
    ASSERT_OK(session_->wait_ready(kWait));
    options_.directory = path("series");
    options_.rules = {.keep = 2, .depth_max = 4};
    options_.tracker = "protection";
    options_.save.sync = false;
  }
  std::unique_ptr<SnapshotSeries> begin() {
    auto series = SnapshotSeries::begin(*session_, options_);
    EXPECT_TRUE(series) << series.error().to_string();
    return series ? *std::move(series) : nullptr;
  }
  // The members' names, with the depth of each one's chain.
  std::vector<std::pair<std::string, std::size_t>> members() {
    std::vector<std::pair<std::string, std::size_t>> found;
    for (const auto& entry : fs::directory_iterator(options_.directory)) {
      if (entry.path().filename().string().front() == '.') {
        continue;  // Being removed.
      }
      const auto chain =
          snapshot::SnapshotChain::open(snapshot::posix_file_system(), entry.path().string());
      EXPECT_TRUE(chain) << chain.error().to_string();
      found.emplace_back(entry.path().filename().string(), chain ? (*chain)->depth() : 0);
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  // The restored guest's next answer: one more than it had given when it was saved.
  void expect_restored_count(const std::string& member, int count) {
    for (const std::string policy : {"lazy", "eager"}) {
      RestoreOptions options;
      options.policy = policy;
      auto restored = restore("series/" + member, options);
      ASSERT_OK(restored);
      expect_count(**restored, count);
    }
  }

  std::unique_ptr<Session> session_;
  SeriesOptions options_;
};

INSTANTIATE_TEST_SUITE_P(PageSizes, Series, ::testing::Values(4096, 16384));

TEST_P(Series, KeepsTheNewestAndWhatTheyNeedAndAllOfItCanBeRestored) {
  auto series = begin();
  ASSERT_NE(series, nullptr);
  for (int saved = 1; saved <= 14; ++saved) {
    expect_count(*session_, saved);
    ASSERT_OK(series->save());
    const auto found = members();
    ASSERT_GE(found.size(), std::min<std::size_t>(static_cast<std::size_t>(saved), 2));
    // A full one, four differences, and of the chain before it what a kept one needs.
    EXPECT_LE(found.size(), 6U);
    EXPECT_LE(found.back().second, 5U);
    expect_restored_count(found.back().first, saved + 1);
    if (saved > 1) {
      expect_restored_count(found[found.size() - 2].first, saved);
    }
  }
  const SeriesReport& report = series->report();
  EXPECT_EQ(report.saved, 14U);
  EXPECT_EQ(report.kept, 2U);
  EXPECT_GE(report.flattened, 2U);
  EXPECT_EQ(report.removed + members().size(), 14U);
  EXPECT_THAT(report.paused_ns, SizeIs(14));
  EXPECT_GE(report.disk_bytes_max, report.disk_bytes);
  EXPECT_EQ(report.newest, path("series/000014"));
}

TEST_P(Series, LeavesNoFilesOfWhatWasRemoved) {
  options_.rules = {.keep = 1, .depth_max = 1};
  {
    auto series = begin();
    ASSERT_NE(series, nullptr);
    for (int saved = 1; saved <= 12; ++saved) {
      expect_count(*session_, saved);
      ASSERT_OK(series->save());
    }
  }
  const fs::directory_iterator entries(options_.directory);
  EXPECT_EQ(std::distance(fs::begin(entries), fs::end(entries)), 1);
}

TEST_P(Series, RemovesWhatAKilledOneLeft) {
  const std::string leftover = path("series/.000007.stasis-0123456789abcdef");
  fs::create_directories(leftover);
  std::ofstream(leftover + "/memory") << "half of it";
  ASSERT_NE(begin(), nullptr);
  EXPECT_FALSE(fs::exists(leftover));
}

TEST_P(Series, AContinuedOneGoesOnBehindTheLastNumber) {
  for (const int round : {0, 1}) {
    options_.save.replace_existing = round > 0;
    auto series = begin();
    ASSERT_NE(series, nullptr);
    for (int saved = 1; saved <= 2; ++saved) {
      expect_count(*session_, round * 2 + saved);
      ASSERT_OK(series->save());
    }
  }
  EXPECT_THAT(members(), ElementsAre(std::pair("000003", 1U), std::pair("000004", 2U)));
  expect_restored_count("000004", 5);
}

TEST_P(Series, ADirectoryThatIsInUseIsRefused) {
  ASSERT_NE(begin(), nullptr);
  ASSERT_NE(begin(), nullptr) << "an empty directory is as good as none";
  std::ofstream(path("series/notes")) << "mine";
  const auto series = SnapshotSeries::begin(*session_, options_);
  ASSERT_FALSE(series);
  EXPECT_EQ(series.error().code, Errc::kAlreadyExists);
  EXPECT_THAT(series.error().message, HasSubstr("not empty"));
}

TEST_P(Series, ImpossibleRulesAreRefused) {
  options_.rules.keep = 0;
  EXPECT_EQ(check_series(options_).error().code, Errc::kInvalidArgument);
  options_.rules = {.keep = 1, .depth_max = snapshot::kChainDepthMax};
  EXPECT_EQ(check_series(options_).error().code, Errc::kInvalidArgument);
  options_.rules = {};
  options_.directory = path("nowhere/series");
  EXPECT_FALSE(SnapshotSeries::begin(*session_, options_));
}

TEST_P(Series, ADirectoryThatVanishesIsAnErrorAndTheGuestGoesOn) {
  auto series = begin();
  ASSERT_NE(series, nullptr);
  expect_count(*session_, 1);
  ASSERT_OK(series->save());
  fs::remove_all(options_.directory);
  expect_count(*session_, 2);
  EXPECT_FALSE(series->save());
  EXPECT_FALSE(fs::exists(options_.directory));
  expect_count(*session_, 3);
}

TEST_P(Series, ASaveThatFailsLeavesWhatWasKept) {
  auto series = begin();
  ASSERT_NE(series, nullptr);
  expect_count(*session_, 1);
  ASSERT_OK(series->save());
  // A file where the next one would be: as well as any other reason.
  std::ofstream(path("series/000002")) << "in the way";
  expect_count(*session_, 2);
  const auto saved = series->save();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, Errc::kAlreadyExists);
  expect_restored_count("000001", 2);
  fs::remove(path("series/000002"));
  expect_count(*session_, 3);
  ASSERT_OK(series->save());
  expect_restored_count("000002", 4);
}

TEST_P(Series, WhatNobodyCanRestoreIsNotContinued) {
  {
    auto series = begin();
    ASSERT_NE(series, nullptr);
    for (int saved = 1; saved <= 2; ++saved) {
      expect_count(*session_, saved);
      ASSERT_OK(series->save());
    }
  }
  fs::remove_all(path("series/000001"));
  options_.save.replace_existing = true;
  const auto series = SnapshotSeries::begin(*session_, options_);
  ASSERT_FALSE(series);
  EXPECT_THAT(series.error().message, HasSubstr("000002"));
}

TEST_P(Series, FlatteningWithoutASnapshotSaysSo) {
  const auto flattened = session_->flatten_parent({});
  ASSERT_FALSE(flattened);
  EXPECT_EQ(flattened.error().code, Errc::kInvalidArgument);
}

TEST_P(Series, AReplacedSnapshotIsNotFlattened) {
  auto series = begin();
  ASSERT_NE(series, nullptr);
  ASSERT_OK(series->save());
  auto other = launch("counter");
  ASSERT_OK(other);
  ASSERT_OK((*other)->wait_ready(kWait));
  SaveOptions options;
  options.replace_existing = true;
  options.sync = false;
  ASSERT_OK((*other)->save(path("series/000001"), options));
  const auto flattened = session_->flatten_parent(options);
  ASSERT_FALSE(flattened);
  EXPECT_EQ(flattened.error().code, Errc::kMismatch);
}

}  // namespace
}  // namespace stasis::session
