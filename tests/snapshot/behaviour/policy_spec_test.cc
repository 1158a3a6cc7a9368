// Policies as data: what a file may say, and what it may not.
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/policies/policy_catalog.h"
#include "snapshot/policies/policy_file.h"

namespace stasis::snapshot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void expect_refused(std::string_view text, Errc code, std::string_view why) {
  SCOPED_TRACE(text);
  const auto spec = parse_policy(text, "test.json");
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code, code) << spec.error().to_string();
  EXPECT_THAT(spec.error().message, AllOf(HasSubstr("test.json"), HasSubstr(std::string(why))));
}

TEST(NamedPolicies, AreEachWhatTheirFileIsCalledAndSayWhatTheyDo) {
  std::set<std::string_view> names;
  for (const NamedPolicy& named : named_policies()) {
    SCOPED_TRACE(named.name);
    const auto spec = find_policy(named.name);
    ASSERT_TRUE(spec) << spec.error().to_string();
    EXPECT_EQ(spec->name, named.name);
    EXPECT_FALSE(spec->summary.empty());
    EXPECT_FALSE(describe(*spec).empty());
    EXPECT_TRUE(names.insert(named.name).second) << "twice";
  }
  EXPECT_TRUE(names.contains(kWorkingSetPolicy));
}

TEST(NamedPolicies, OfBeforeAreTheSameCompositions) {
  EXPECT_EQ(find_policy("eager")->memory, Underlay::kFilled);
  EXPECT_EQ(find_policy("eager")->prefetch, std::nullopt);
  EXPECT_EQ(find_policy("lazy")->memory, Underlay::kMapped);
  EXPECT_EQ(find_policy("lazy")->prefetch, std::nullopt);
  const PolicySpec working_set = *find_policy("working-set");
  EXPECT_EQ(working_set.memory, Underlay::kMapped);
  EXPECT_EQ(working_set.prefetch, (PrefetchSpec{.by = PrefetchBy::kPopulate,
                                                .order = PrefetchOrder::kWritten,
                                                .when = PrefetchWhen::kWithRequest}));
}

TEST(PolicyFile, MayNameEveryMechanism) {
  const auto spec = parse_policy(
      R"({"format": 1, "name": "mine-2", "summary": "s", "after": "a", "memory": "missing",
          "faults": {"handlers": 2, "window_pages": 16, "zero_pages": "handler"},
          "prefetch": {"by": "copy", "order": "access", "when": "concurrent", "read": "direct",
                       "threads": 4}})",
      "test.json");
  ASSERT_TRUE(spec) << spec.error().to_string();
  const PolicySpec expected{.name = "mine-2",
                            .summary = "s",
                            .after = "a",
                            .memory = Underlay::kMissing,
                            .faults = {2, 16, ZeroPages::kHandler},
                            .prefetch = PrefetchSpec{.by = PrefetchBy::kCopy,
                                                     .order = PrefetchOrder::kAccess,
                                                     .when = PrefetchWhen::kConcurrent,
                                                     .read = PayloadAccess::kDirect,
                                                     .threads = 4}};
  EXPECT_EQ(*spec, expected);
  const auto mapped = parse_policy(
      R"({"format": 1, "name": "m", "memory": "mapped", "read_ahead": "random"})", "test.json");
  ASSERT_TRUE(mapped) << mapped.error().to_string();
  EXPECT_EQ(mapped->read_ahead, ReadAhead::kRandom);
}

TEST(PolicyFile, IsRefusedWithTheFieldAndWhatIsPossible) {
  expect_refused("", Errc::kCorruption, "parse error");
  expect_refused("[]", Errc::kCorruption, "one JSON object");
  expect_refused(std::string(100000, '['), Errc::kCorruption, "test.json");
  expect_refused(R"({"format": 2})", Errc::kCorruption, "field format");
  expect_refused(R"({"format": 1, "name": "x"})", Errc::kCorruption, "field memory is missing");
  expect_refused(R"({"format": 1, "name": "x", "memory": "lazy"})", Errc::kInvalidArgument,
                 "filled, mapped, missing");
  expect_refused(R"({"format": 1, "name": 3, "memory": "mapped"})", Errc::kInvalidArgument,
                 "field name must be a text");
  expect_refused(R"({"format": 1, "name": "x", "memory": "mapped", "prefech": {}})",
                 Errc::kInvalidArgument, "field prefech is unknown");
  expect_refused(R"({"format": 1, "name": "x", "memory": "missing", "faults": {"handler": 1}})",
                 Errc::kInvalidArgument, "field faults.handler is unknown");
  expect_refused(R"({"format": 1, "name": "x", "memory": "missing", "faults": 1})",
                 Errc::kInvalidArgument, "must be an object");
  expect_refused(R"({"format": 1, "name": "x", "memory": "missing", "faults": {"handlers": -1}})",
                 Errc::kInvalidArgument, "whole number");
  expect_refused(R"({"format": 1, "name": "A/b", "memory": "mapped"})", Errc::kInvalidArgument,
                 "a-z");
}

TEST(PolicyFile, IsRefusedWhereMechanismsDoNotGoTogether) {
  const auto with = [](std::string_view rest) {
    return R"({"format": 1, "name": "x", "memory": )" + std::string(rest) + "}";
  };
  for (const auto& [rest, why] : std::vector<std::pair<std::string, std::string>>{
           {R"("filled", "read_ahead": "random")", "needs memory \"mapped\""},
           {R"("mapped", "faults": {"handlers": 2})", "needs memory \"missing\""},
           {R"("missing", "faults": {"handlers": 17})", "1 to 16"},
           {R"("missing", "faults": {"window_pages": 0})", "1 to 512"},
           {R"("filled", "prefetch": {"by": "page-cache"})", "nothing to bring in"},
           {R"("mapped", "prefetch": {"by": "copy"})", "needs memory \"missing\""},
           {R"("missing", "prefetch": {"by": "populate", "when": "with-request"})", "\"copy\""},
           {R"("mapped", "prefetch": {"by": "populate"})", "\"with-request\""},
           {R"("missing", "prefetch": {"by": "copy", "when": "with-request"})", "nothing else"},
           {R"("mapped", "prefetch": {"by": "page-cache", "read": "direct"})", "page cache"},
           {R"("missing", "prefetch": {"by": "move", "threads": 2})", "above 1"},
           {R"("missing", "prefetch": {"by": "copy", "threads": 0})", "1 to 16"}}) {
    expect_refused(with(rest), Errc::kInvalidArgument, why);
  }
}

TEST(PolicyFile, OfAUserNeedsANameOfItsOwn) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "stasis-policy-spec-test.json").string();
  const auto write = [&](std::string_view text) { std::ofstream(path) << text; };
  write(R"({"format": 1, "name": "lazy", "memory": "filled"})");
  const auto taken = load_policy(path);
  write(R"({"format": 1, "name": "lazier", "memory": "mapped"})");
  const auto own = load_policy(path);
  std::ofstream(path) << std::string(kPolicyFileBytesMax + 1, ' ');
  const auto large = load_policy(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, AllOf(HasSubstr("'lazy'"), HasSubstr("choose another")));
  ASSERT_TRUE(own) << own.error().to_string();
  EXPECT_EQ(own->name, "lazier");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Errc::kCorruption);
  EXPECT_EQ(load_policy(path).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace stasis::snapshot
