// Profiles, and the accesses that are generated from them: that what comes out is what was asked
// for.
#include "experiments/harness/workload.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/workload/footprint.h"
#include "experiments/workload/generator.h"
#include "guests/abi.h"
#include "guests/programs/pagetoucher_content.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::uint64_t> pages_of(const std::vector<Access>& accesses) {
  std::vector<std::uint64_t> pages;
  for (const Access& access : accesses) {
    pages.push_back(access.page);
  }
  std::sort(pages.begin(), pages.end());
  EXPECT_EQ(std::adjacent_find(pages.begin(), pages.end()), pages.end()) << "a page comes twice";
  return pages;
}

class EveryProfile : public testing::TestWithParam<std::string> {
 protected:
  static const Profile& profile() {
    const std::vector<Profile>& profiles = builtin_profiles();
    return *std::find_if(profiles.begin(), profiles.end(),
                         [](const Profile& each) { return each.name == GetParam(); });
  }
};

TEST_P(EveryProfile, GivesTheNumbersOfItsPaper) {
  const Profile& profile = EveryProfile::profile();
  for (const std::uint64_t seed : {1U, 2U}) {
    const Accesses accesses = generate(profile, seed);
    const std::vector<std::uint64_t> first = pages_of(accesses.first);
    const std::vector<std::uint64_t> second = pages_of(accesses.second);
    EXPECT_LT(std::max(first.back(), second.back()), usable_mib(profile.memory_mib) * kPagesPerMib);

    const Footprint footprint = footprint_of(first);
    EXPECT_EQ(footprint.pages, profile.pages);
    EXPECT_NEAR(footprint.mean_run, profile.mean_run, 0.01 * profile.mean_run);
    EXPECT_NEAR(footprint.small_gap_share, profile.small_gap_share, 0.02);
    EXPECT_NEAR(footprint.small_gap_mean, profile.small_gap_mean, 0.05 * profile.small_gap_mean);

    const Overlap overlap = overlap_of(first, second);
    EXPECT_EQ(overlap.unique, profile.unique_pages);
    const std::uint64_t dropped = profile.drift == DriftMode::kReplace ? profile.unique_pages : 0;
    EXPECT_EQ(overlap.same, profile.pages - dropped);
    EXPECT_NEAR(footprint_of(second).mean_run, profile.mean_run, 0.05 * profile.mean_run);

    const auto writes = std::count_if(accesses.first.begin(), accesses.first.end(),
                                      [](const Access& access) { return access.is_write; });
    EXPECT_NEAR(static_cast<double>(writes) / static_cast<double>(profile.pages),
                profile.write_fraction, 0.05);
  }
}

// FaaSnap: a working set of more than a thousand regions becomes some hundred when small gaps are
// closed, for little more data; gaps that are drawn uniformly would multiply it.
TEST_P(EveryProfile, ClosingSmallGapsLeavesFewRuns) {
  const Footprint footprint = footprint_of(pages_of(generate(profile(), 1).first));
  EXPECT_LT(footprint.merged_runs, footprint.runs / 4);
  EXPECT_LT(footprint.merged_pages, 3 * footprint.pages);
}

TEST_P(EveryProfile, SurvivesItsOwnJson) {
  auto read = profiles_from_json(to_json_text(profile()), "text");
  ASSERT_TRUE(read) << read.error().to_string();
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ(to_json_text(read->front()), to_json_text(profile()));
  EXPECT_TRUE(check_profile(read->front()));
}

TEST_P(EveryProfile, FillsAsMuchOfMemoryAsIsNotZeroAndNothingTwice) {
  auto requests = fill_requests(profile(), 1);
  ASSERT_TRUE(requests) << requests.error().to_string();
  const std::uint64_t usable = usable_mib(profile().memory_mib);
  std::uint64_t end = 0;
  for (const std::string& request : *requests) {
    unsigned long begin = 0;
    ASSERT_TRUE(request.starts_with("fill 1 ")) << request;
    ASSERT_EQ(std::sscanf(request.c_str() + request.find("begin="), "begin=%lu", &begin), 1);
    EXPECT_GE(begin, end) << request;
    end = begin + kPagesPerMib;
  }
  EXPECT_LE(end, usable * kPagesPerMib);
  const auto total = static_cast<double>(profile().memory_mib);
  const double filled = static_cast<double>(requests->size());
  const double wanted =
      std::min((1 - profile().zero_fraction) * total, static_cast<double>(usable));
  EXPECT_NEAR(filled, wanted, 1);
}

std::vector<std::string> builtin_names() {
  std::vector<std::string> names;
  for (const Profile& each : builtin_profiles()) {
    names.push_back(each.name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(BuiltIn, EveryProfile, testing::ValuesIn(builtin_names()),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return c == '/' || c == '-'; }, '_');
                           return name;
                         });

Profile small() {
  return {.name = "small", .source = {}, .memory_mib = 32, .pages = 400, .unique_pages = 40};
}

TEST(Generator, TheSameSeedGivesTheSameAccessesAndAnotherOnesOthers) {
  const Accesses once = generate(small(), 1);
  EXPECT_EQ(once.first, generate(small(), 1).first);
  EXPECT_EQ(once.second, generate(small(), 1).second);
  EXPECT_NE(pages_of(once.first), pages_of(generate(small(), 2).first));
}

TEST(Generator, OrdersAreWhatTheySay) {
  Profile profile = small();
  profile.order = AccessOrder::kAddress;
  const std::vector<Access> ascending = generate(profile, 1).first;
  EXPECT_TRUE(std::is_sorted(ascending.begin(), ascending.end(),
                             [](const Access& a, const Access& b) { return a.page < b.page; }));
  const auto steps = [](const std::vector<Access>& accesses) {  // To the next page.
    std::size_t count = 0;
    for (std::size_t i = 1; i < accesses.size(); ++i) {
      count += accesses[i].page == accesses[i - 1].page + 1 ? 1U : 0U;
    }
    return count;
  };
  profile.order = AccessOrder::kShuffledRuns;
  const std::vector<Access> runs = generate(profile, 1).first;
  EXPECT_FALSE(std::is_sorted(runs.begin(), runs.end(),
                              [](const Access& a, const Access& b) { return a.page < b.page; }));
  EXPECT_EQ(steps(runs), steps(ascending));  // Inside of runs.
  profile.order = AccessOrder::kShuffled;
  EXPECT_LT(steps(generate(profile, 1).first), steps(ascending) / 10);
}

TEST(Generator, ADenseWorkingSetStillFits) {
  Profile profile = small();
  profile.pages = 4500;
  profile.mean_run = 8;
  profile.unique_pages = 500;
  ASSERT_TRUE(check_profile(profile));
  const Accesses accesses = generate(profile, 1);
  EXPECT_EQ(pages_of(accesses.first).size(), 4500U);
  EXPECT_EQ(overlap_of(pages_of(accesses.first), pages_of(accesses.second)).unique, 500U);
}

TEST(Generator, ALongListIsSeveralRequestsThatAMailboxHolds) {
  std::vector<Access> accesses;
  for (std::uint64_t page = 0; page < 40000; ++page) {
    accesses.push_back({.page = page, .is_write = page % 2 == 1});
  }
  const auto requests = requests_for(accesses);
  ASSERT_EQ(requests.size(), 3U);
  std::size_t next = 0;
  for (const std::vector<std::byte>& request : requests) {
    EXPECT_LE(request.size(), abi::kRequestBytesMax);
    const auto word = [&](std::size_t index) {
      std::uint32_t value = 0;
      std::memcpy(&value, &request[index * 4], 4);
      return value;
    };
    EXPECT_EQ(word(0), guest::pagetoucher::kBinaryListMagic);
    for (std::size_t i = 1; i < request.size() / 4; ++i, ++next) {
      EXPECT_EQ(word(i), next | (next % 2 == 1 ? guest::pagetoucher::kWriteBit : 0U));
    }
  }
  EXPECT_EQ(next, accesses.size());
  EXPECT_TRUE(requests_for({}).empty());
}

TEST(Footprints, AreCountedByHand) {
  const Footprint footprint = footprint_of({1, 2, 3, 5, 6, 100, 140});
  EXPECT_EQ(footprint.pages, 7U);
  EXPECT_EQ(footprint.runs, 4U);
  EXPECT_DOUBLE_EQ(footprint.mean_run, 7.0 / 4);
  EXPECT_DOUBLE_EQ(footprint.small_gap_share, 1.0 / 3);
  EXPECT_DOUBLE_EQ(footprint.small_gap_mean, 1);
  EXPECT_EQ(footprint.merged_runs, 3U);
  EXPECT_EQ(footprint.merged_pages, 8U);
  EXPECT_EQ(footprint_of({}).runs, 0U);
  const Overlap overlap = overlap_of({1, 2, 3}, {2, 3, 4, 5});
  EXPECT_EQ(overlap.same, 2U);
  EXPECT_EQ(overlap.unique, 2U);
}

TEST(Profiles, AreFoundByNameCollectionAndFile) {
  const auto names = [](const std::vector<std::string>& wanted) {
    std::vector<std::string> found;
    auto profiles = find_profiles(wanted);
    EXPECT_TRUE(profiles) << profiles.error().to_string();
    for (const Profile& profile : profiles ? *profiles : std::vector<Profile>{}) {
      found.push_back(profile.name);
    }
    return found;
  };
  EXPECT_EQ(names({}).size(), 10U);
  EXPECT_EQ(names({"reap"}).size(), 10U);
  EXPECT_EQ(names({"faasnap"}).size(), 12U);
  EXPECT_THAT(names({"reap/pyaes", "faasnap/pyaes"}), ElementsAre("reap/pyaes", "faasnap/pyaes"));
  const TemporaryDirectory directory;
  const std::string file = directory.write(
      "mine.json", R"({"profiles":[{"name":"a","pages":10},{"name":"b","pages":20}]})");
  EXPECT_THAT(names({file}), ElementsAre("a", "b"));
}

TEST(Profiles, MistakesSayWhatIsWrongAndWhatWouldBeRight) {
  const auto refusal = [](const std::vector<std::string>& wanted) {
    auto profiles = find_profiles(wanted);
    return profiles ? std::string("taken") : profiles.error().message;
  };
  EXPECT_THAT(refusal({"reap/helloword"}), HasSubstr("did you mean 'reap/helloworld'?"));
  EXPECT_THAT(refusal({"helloworld"}), HasSubstr("did you mean 'reap/helloworld'?"));
  EXPECT_THAT(refusal({"reap/pyaes", "reap"}), HasSubstr("named twice"));
  EXPECT_THAT(refusal({"/does/not/exist.json"}), HasSubstr("/does/not/exist.json"));
  const TemporaryDirectory directory;
  const auto of_file = [&](const std::string& text) {
    return refusal({directory.write("p.json", text)});
  };
  EXPECT_THAT(of_file("{"), HasSubstr("not a profile"));
  EXPECT_THAT(of_file(R"({"name":"x"})"), HasSubstr("pages"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":1,"pagse":2})"), HasSubstr("'pagse' is not known"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":1,"order":"up"})"), HasSubstr("order 'up'"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":1,"zero_fraction":1.5})"),
              HasSubstr("zero_fraction 1.5 is not from 0 to 0.99"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":1,"memory_mib":8})"), HasSubstr("memory_mib 8"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":0})"), HasSubstr("at least 1"));
  EXPECT_THAT(of_file(R"({"name":"x","pages":100000})"),
              AllOf(HasSubstr("does not fit"), HasSubstr("more memory_mib")));
}

TEST(Profiles, ContentThatNoGuestCanWriteIsRefused) {
  Profile profile = small();
  profile.compression_ratio = 100;
  auto requests = fill_requests(profile, 1);
  ASSERT_FALSE(requests);
  EXPECT_EQ(requests.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(requests.error().message, HasSubstr("compression_ratio 100"));
}

}  // namespace
}  // namespace stasis::experiments
