// What `--policy auto` takes, and that it says why.
#include "snapshot/policies/policy_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/policies/policy_file.h"

namespace stasis::snapshot {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

void expect_choice(const ChoiceFacts& facts, std::string_view policy, const std::string& because) {
  const PolicyChoice choice = choose_policy(facts);
  EXPECT_EQ(choice.policy, policy) << because;
  EXPECT_THAT(choice.reasons, Contains(HasSubstr(because)));
  EXPECT_TRUE(find_policy(choice.policy)) << "a policy that does not exist";
}

TEST(PolicyChoiceTest, MapsRawMemoryAndBringsInWhatIsRecorded) {
  expect_choice({}, "lazy", "nothing is stored");
  expect_choice({.raw_bytes = 64 * kMiB}, "lazy", "no run is recorded");
  expect_choice({.raw_bytes = 64 * kMiB, .recorded_bytes = kMiB}, "working-set", "unknown share");
  expect_choice({.raw_bytes = 64 * kMiB, .recorded_bytes = kMiB, .cached = 1.0}, "working-set",
                "100 %");
  expect_choice({.raw_bytes = 64 * kMiB, .recorded_bytes = kMiB, .cached = 0.2}, "faasnap", "20 %");
  expect_choice({.raw_bytes = 64 * kMiB, .recorded_bytes = kMiB, .tracked = true}, "lazy",
                "tracker");
}

TEST(PolicyChoiceTest, DoesNotDecompressWhatMayNeverBeTouched) {
  ChoiceFacts facts{.raw_bytes = kMiB, .compressed_bytes = 64 * kMiB, .missing_pages = true};
  expect_choice(facts, "on-demand", "no run is recorded");
  facts.recorded_bytes = kMiB;
  expect_choice(facts, "compressed-ws", "1 MiB");
  facts.tracked = true;
  expect_choice(facts, "eager", "tracker");
  facts.tracked = false;
  facts.missing_pages = false;
  expect_choice(facts, "eager", "stasis doctor");
  // So little that it does not matter.
  expect_choice({.raw_bytes = 64 * kMiB, .compressed_bytes = kMiB}, "lazy", "only 1 MiB");
}

TEST(PolicyChoiceTest, CountsWhatTheChainHoldsAndWhatIsRecorded) {
  PlanInput input;
  const auto extent = [](std::uint64_t at, ExtentKind kind) {
    const GpaRange range{Gpa{at * kMiB}, kMiB};
    return SourceExtent{range, 0, {range, kind, 0, 0}};
  };
  input.extents = {extent(0, ExtentKind::kRaw), extent(1, ExtentKind::kLz4),
                   extent(2, ExtentKind::kRaw), extent(3, ExtentKind::kZero)};
  EXPECT_EQ(facts_of(input), (ChoiceFacts{.raw_bytes = 2 * kMiB, .compressed_bytes = kMiB}));
  input.trace = {{{Gpa{0}, 4096}, PopulateFor::kReading}};
  EXPECT_EQ(facts_of(input).recorded_bytes, 4096U);
  input.touched = {{{Gpa{0}, 8192}, PopulateFor::kReading}};
  EXPECT_EQ(facts_of(input).recorded_bytes, 8192U);
}

}  // namespace
}  // namespace stasis::snapshot
