// Policies are pure: these tests need no VM and no file.
#include <map>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/policies/policy_catalog.h"
#include "snapshot/policies/policy_file.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint64_t kPage = 4096;

GpaRange pages(std::uint64_t first, std::uint64_t count) {
  return {Gpa{first * kPage}, count * kPage};
}

// Of one region and snapshots with mappable payloads, in which file offset = guest address.
PlanInput input_of(std::uint64_t region_pages, std::size_t layers) {
  PlanInput input;
  input.regions.push_back({pages(0, region_pages), BackingKind::kAnonymous, HugePages::kNever});
  input.layers.resize(layers, SourceLayer{Layout::kMappable, region_pages * kPage, true, {}});
  return input;
}

SourceExtent raw(GpaRange range, std::uint32_t depth = 0) {
  return {range, depth, {range, ExtentKind::kRaw, range.begin.value, 0}};
}
SourceExtent zero(GpaRange range) {
  return {range, 0, {range, ExtentKind::kZero, 0, 0}};
}
SourceExtent lz4(GpaRange range, std::uint32_t depth = 0) {
  return {range, depth, {range, ExtentKind::kLz4, 0, 0}};
}

RestorePlan must_plan(std::string_view policy, const PlanInput& input,
                      const PolicyOptions& options = {}) {
  auto plan = make_plan(policy, input, options);
  EXPECT_TRUE(plan) << plan.error().to_string();
  return plan ? *std::move(plan) : RestorePlan{};
}

TEST(EagerPolicy, FillsEverythingStoredAndNeverTouchesZeros) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 10)), zero(pages(10, 80)), lz4(pages(90, 10))};
  const RestorePlan plan = must_plan("eager", input);
  ASSERT_THAT(plan.steps, SizeIs(2));
  EXPECT_EQ(plan.steps[0], RestoreStep(ReadInto{input.extents[0]}));
  EXPECT_EQ(plan.steps[1], RestoreStep(DecompressInto{input.extents[2]}));
}

TEST(EagerPolicy, UsesTheHugePagesAndThreadsItWasAskedFor) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  PolicyOptions options;
  options.threads = 3;
  options.huge_pages = HugePages::kTransparent;
  options.verify = Verify::kOff;
  const RestorePlan plan = must_plan("eager", input, options);
  EXPECT_EQ(plan.threads, 3U);
  EXPECT_EQ(plan.verify, Verify::kOff);
  EXPECT_EQ(plan.regions.at(0).huge_pages, HugePages::kTransparent);
}

TEST(WorkingSetPolicy, IsTheLazyOneAndBringsInWhatWasTouched) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 50)), zero(pages(50, 50))};
  input.touched = {{pages(3, 2), PopulateFor::kWriting},
                   {pages(5, 1), PopulateFor::kReading},
                   {pages(6, 1), PopulateFor::kWriting},
                   {pages(60, 1), PopulateFor::kReading}};
  const RestorePlan plan = must_plan("working-set", input);
  EXPECT_EQ(plan.steps, must_plan("lazy", input).steps);
  // What is written comes first.
  EXPECT_THAT(plan.populate,
              ::testing::ElementsAre(PopulatePiece{pages(3, 2), PopulateFor::kWriting},
                                     PopulatePiece{pages(6, 1), PopulateFor::kWriting},
                                     PopulatePiece{pages(5, 1), PopulateFor::kReading},
                                     PopulatePiece{pages(60, 1), PopulateFor::kReading}));
  EXPECT_EQ(summarize(plan).populated_bytes, 5 * kPage);
  EXPECT_THAT(plan.notes, IsEmpty());
  EXPECT_THAT(must_plan("lazy", input).populate, IsEmpty());
  EXPECT_THAT(must_plan("eager", input).populate, IsEmpty());
}

TEST(WorkingSetPolicy, WithoutARecordIsTheLazyOneAndSaysSo) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  const RestorePlan plan = must_plan("working-set", input);
  EXPECT_THAT(plan.populate, IsEmpty());
  EXPECT_THAT(plan.notes, ::testing::ElementsAre(HasSubstr("no working set")));
}

TEST(WorkingSetPolicy, LeavesOutWhatIsNoWholePageOfThisHost) {
  PlanInput input = input_of(100, 1);
  input.host_page_size_bytes = 4 * kPage;
  input.page_size_bytes = 4 * kPage;
  input.extents = {raw(pages(0, 100))};
  input.touched = {{pages(4, 4), PopulateFor::kWriting}, {pages(9, 1), PopulateFor::kReading}};
  const RestorePlan plan = must_plan("working-set", input);
  EXPECT_EQ(summarize(plan).populated_bytes, 4 * kPage);
  EXPECT_THAT(plan.notes, ::testing::ElementsAre(HasSubstr("1 of 2")));
}

TEST(CheckPlan, RefusesToPopulateWhatIsNoMemory) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  for (const std::vector<PopulatePiece>& touched : std::vector<std::vector<PopulatePiece>>{
           {{pages(99, 2), PopulateFor::kReading}}, {{pages(5, 0), PopulateFor::kReading}}}) {
    input.touched = touched;
    const auto plan = make_plan("working-set", input);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, Errc::kInvalidArgument);
  }
}

TEST(LazyPolicy, MapsAFullSnapshotWithOneMappingWhateverItsSize) {
  for (const std::uint64_t size : {std::uint64_t{1000}, std::uint64_t{1000000}}) {
    PlanInput input = input_of(size, 1);
    input.extents = {raw(pages(0, size))};
    const RestorePlan plan = must_plan("lazy", input);
    EXPECT_THAT(plan.steps, ::testing::ElementsAre(MapPrivateFile{pages(0, size), 0, 0}));
  }
}

TEST(LazyPolicy, RunsOverShortHolesOfAMappableFileButNotOverLongOnes) {
  PlanInput input = input_of(2000, 1);
  input.extents = {raw(pages(0, 100)), zero(pages(100, 8)), raw(pages(108, 92)),
                   zero(pages(200, 1700)), raw(pages(1900, 100))};
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_THAT(plan.steps,
              ::testing::ElementsAre(MapPrivateFile{pages(0, 200), 0, 0},
                                     MapPrivateFile{pages(1900, 100), 0, 1900 * kPage}));
}

TEST(LazyPolicy, EndsAMappingAtEveryHoleOfAPackedFile) {
  PlanInput input = input_of(300, 1);
  input.layers[0].layout = Layout::kPacked;
  input.extents = {raw(pages(0, 100)), zero(pages(100, 8)), raw(pages(108, 92)),
                   zero(pages(200, 100))};
  input.extents[2].extent.file_offset = 100 * kPage;  // Directly behind the first.
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_THAT(plan.steps, ::testing::ElementsAre(MapPrivateFile{pages(0, 100), 0, 0},
                                                 MapPrivateFile{pages(108, 92), 0, 100 * kPage}));
}

TEST(LazyPolicy, LaysNewerSnapshotsOverOneMappingOfTheOldest) {
  PlanInput input = input_of(1000, 3);
  input.extents = {raw(pages(0, 300), 2), raw(pages(300, 50), 0), raw(pages(350, 50), 1),
                   raw(pages(400, 600), 2)};
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_THAT(plan.steps, ::testing::ElementsAre(MapPrivateFile{pages(0, 1000), 2, 0},
                                                 MapPrivateFile{pages(350, 50), 1, 350 * kPage},
                                                 MapPrivateFile{pages(300, 50), 0, 300 * kPage}));
}

TEST(LazyPolicy, NeverMapsANewerFileOverWhatAnOlderOneHolds) {
  PlanInput input = input_of(300, 2);
  input.extents = {raw(pages(0, 100), 0), raw(pages(100, 100), 1), raw(pages(200, 100), 0)};
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_EQ(summarize(plan).mappings, 3U);
}

TEST(LazyPolicy, HidesOldBytesUnderPagesThatBecameZero) {
  PlanInput input = input_of(300, 2);
  input.layers[1].stored = {pages(0, 300)};
  input.extents = {raw(pages(0, 100), 1), zero(pages(100, 50)), raw(pages(150, 140), 1),
                   zero(pages(290, 2)), raw(pages(292, 8), 1)};
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_THAT(plan.steps, ::testing::ElementsAre(MapPrivateFile{pages(0, 300), 1, 0},
                                                 Zero{pages(100, 50), ZeroBy::kMapping},
                                                 Zero{pages(290, 2), ZeroBy::kFilling}));
}

TEST(LazyPolicy, ReadsWhatIsCompressedUnalignedOrNotAFile) {
  PlanInput input = input_of(300, 2);
  input.layers[1].mappable = false;
  input.extents = {raw(pages(0, 100)), lz4(pages(100, 100)), raw(pages(200, 100), 1)};
  input.extents[0].extent.file_offset = 512;
  const RestorePlan plan = must_plan("lazy", input);
  EXPECT_EQ(summarize(plan), (PlanSummary{0, 0, 300 * kPage}));
  EXPECT_THAT(plan.notes, ::testing::Contains(HasSubstr("compressed")));
}

TEST(LazyPolicy, KeepsTheNumberOfMappingsBoundedAndSaysSo) {
  PlanInput input = input_of(100000, 2);
  input.layers[1].stored = {pages(0, 100000)};
  for (std::uint64_t at = 0; at < 100000; at += 20) {
    input.extents.push_back(raw(pages(at, 15), 1));
    input.extents.push_back(raw(pages(at + 15, 5), 0));
  }
  PolicyOptions options;
  options.mappings_max = 100;
  options.map_bytes_min = 4 * kPage;
  const RestorePlan plan = must_plan("lazy", input, options);
  const PlanSummary summary = summarize(plan);
  EXPECT_EQ(summary.mappings, 100U);
  EXPECT_EQ(summary.filled_bytes, (5000 - 99) * 5 * kPage);
  EXPECT_EQ(plan.steps.front(),
            RestoreStep(MapPrivateFile{pages(0, 99995), 1, 0}));  // The largest is kept.
  EXPECT_THAT(plan.notes, ::testing::Contains(HasSubstr("4901 of 5001")));
}

TEST(LazyPolicy, MapsSinglePagesWhileFewMappingsSuffice) {
  PlanInput input = input_of(10000, 1);
  for (std::uint64_t at = 0; at < 10000; at += 2000) {
    input.extents.push_back(raw(pages(at, 1)));
    input.extents.push_back(zero(pages(at + 1, 1999)));
  }
  PolicyOptions options;
  options.map_all_max = 5;
  EXPECT_EQ(summarize(must_plan("lazy", input, options)), (PlanSummary{5, 5 * kPage, 0}));
  options.map_all_max = 4;
  EXPECT_EQ(summarize(must_plan("lazy", input, options)), (PlanSummary{0, 0, 5 * kPage}));
}

TEST(LazyPolicy, MapsNothingAcrossTheBorderOfTwoRegions) {
  PlanInput input = input_of(100, 1);
  input.regions.push_back({pages(100, 100), BackingKind::kAnonymous, HugePages::kNever});
  input.layers[0].payload_bytes = 200 * kPage;
  input.extents = {raw(pages(0, 100)), raw(pages(100, 100))};
  EXPECT_EQ(summarize(must_plan("lazy", input)).mappings, 2U);
}

TEST(MissingMemory, IsServedPageByPageAndZerosByTheKernelWhereItIsAsked) {
  PlanInput input = input_of(1000, 1);
  input.extents = {raw(pages(0, 10)), zero(pages(10, 5)), lz4(pages(15, 5)), zero(pages(20, 980))};
  PolicySpec spec{.name = "x", .memory = Underlay::kMissing, .faults = {2, 8}};
  const auto plan = make_plan(spec, input);
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_THAT(plan->steps, ::testing::ElementsAre(ServeMissing{input.extents[0]},
                                                  ServeMissing{input.extents[2]}));
  EXPECT_EQ(plan->faults, spec.faults);
  EXPECT_EQ(summarize(*plan).missing_bytes, 15 * kPage);
  spec.faults.zero_pages = ZeroPages::kHandler;
  EXPECT_EQ(summarize(*make_plan(spec, input)).missing_bytes, 1000 * kPage);
}

TEST(MissingMemory, IsRegisteredInABoundedNumberOfPiecesAndSaysSo) {
  PlanInput input = input_of(100000, 1);
  for (std::uint64_t at = 0; at < 100000; at += 20) {
    input.extents.push_back(raw(pages(at, 15)));
    input.extents.push_back(zero(pages(at + 15, 5)));
  }
  const PolicySpec spec{.name = "x", .memory = Underlay::kMissing};
  PolicyOptions options;
  options.mappings_max = 100;
  const auto plan = make_plan(spec, input, options);
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_EQ(summarize(*plan).missing_bytes, (100000 - 100 * 5) * kPage);
  EXPECT_THAT(plan->notes, ::testing::Contains(HasSubstr("4900 of 5000")));
}

TEST(MissingMemory, FetchesTheRecordInItsOrder) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  input.touched = {{pages(3, 2), PopulateFor::kReading}, {pages(9, 1), PopulateFor::kWriting}};
  PolicySpec spec{.name = "x", .memory = Underlay::kMissing, .prefetch = PrefetchSpec{}};
  spec.prefetch->by = PrefetchBy::kCopy;
  const auto fetched = [&](PrefetchOrder order) {
    spec.prefetch->order = order;
    const auto plan = make_plan(spec, input);
    EXPECT_TRUE(plan) << plan.error().to_string();
    return plan->fetch.value_or(Fetch{}).ranges;
  };
  EXPECT_THAT(fetched(PrefetchOrder::kAddress), ::testing::ElementsAre(pages(3, 2), pages(9, 1)));
  EXPECT_THAT(fetched(PrefetchOrder::kWritten), ::testing::ElementsAre(pages(9, 1), pages(3, 2)));
  // Without a trace by address; and a note says so.
  EXPECT_THAT(fetched(PrefetchOrder::kAccess), ::testing::ElementsAre(pages(3, 2), pages(9, 1)));
  input.trace = {{pages(4, 1), PopulateFor::kReading},
                 {pages(5, 1), PopulateFor::kReading},
                 {pages(1, 1), PopulateFor::kWriting}};
  EXPECT_THAT(fetched(PrefetchOrder::kAccess), ::testing::ElementsAre(pages(4, 2), pages(1, 1)));
}

TEST(MissingMemory, IsFetchedInPiecesThatStayInTheirRegion) {
  PlanInput input = input_of(100, 1);
  input.regions.push_back({pages(100, 100), BackingKind::kAnonymous, HugePages::kNever});
  input.layers[0].payload_bytes = 200 * kPage;
  input.extents = {raw(pages(0, 100)), raw(pages(100, 100))};
  input.touched = {{pages(99, 1), PopulateFor::kReading}, {pages(100, 1), PopulateFor::kReading}};
  EXPECT_THAT(must_plan("reap", input).fetch.value_or(Fetch{}).ranges,
              ::testing::ElementsAre(pages(99, 1), pages(100, 1)));
}

TEST(CheckPlan, RefusesMissingPagesThatCannotBe) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  const auto refuses = [&](auto change, std::string_view why) {
    RestorePlan plan = must_plan("uffd", input);
    change(plan);
    const auto result = check_plan(plan, input);
    ASSERT_FALSE(result) << why;
    EXPECT_THAT(result.error().message, HasSubstr(std::string(why)));
  };
  refuses([](auto& plan) { plan.regions[0].huge_pages = HugePages::kHugetlb; },
          "cannot be missing");
  refuses([](auto& plan) { plan.regions[0].backing = BackingKind::kSharedFile; },
          "cannot be missing");
  refuses([](auto& plan) { plan.steps.push_back(plan.steps[0]); }, "two steps serve");
  refuses([](auto& plan) { plan.steps.push_back(Zero{pages(5, 1)}); }, "another step");
  refuses([](auto& plan) { plan.faults.handlers = 0; }, "0 threads");
  refuses([](auto& plan) { plan.faults.window_pages = 513; }, "513 pages");
  refuses([](auto& plan) { plan.fetch = Fetch{{pages(99, 2)}}; }, "fetching");
  refuses([](auto& plan) { plan.fetch = Fetch{.ranges = {}, .threads = 17}; }, "17 threads");
}

// Executes a plan on an abstract memory in which each page holds "which snapshot's bytes".
std::map<std::uint64_t, std::uint32_t> shown_by(const RestorePlan& plan, const PlanInput& input) {
  std::map<std::uint64_t, std::uint32_t> memory;  // Page -> depth + 1; absent: zero.
  for (const RestoreStep& step : plan.steps) {
    if (const auto* map = std::get_if<MapPrivateFile>(&step)) {
      for (std::uint64_t at = 0; at < map->range.size; at += kPage) {
        const Gpa gpa = map->range.begin + at;
        EXPECT_EQ(map->file_offset + at, gpa.value) << "mapped from the wrong place";
        const bool stored = contains(input.layers[map->depth].stored, gpa);
        memory[gpa.value / kPage] = stored ? map->depth + 1 : 0;
      }
    } else if (const auto* clear = std::get_if<Zero>(&step)) {
      for (std::uint64_t at = 0; at < clear->range.size; at += kPage) {
        memory[(clear->range.begin.value + at) / kPage] = 0;
      }
    } else if (const auto* read = std::get_if<ReadInto>(&step)) {
      for (std::uint64_t at = 0; at < read->source.range.size; at += kPage) {
        memory[(read->source.range.begin.value + at) / kPage] = read->source.depth + 1;
      }
    } else if (const auto* missing = std::get_if<ServeMissing>(&step)) {
      const SourceExtent& source = missing->source;
      for (std::uint64_t at = 0; at < source.range.size; at += kPage) {
        memory[(source.range.begin.value + at) / kPage] =
            source.extent.kind == ExtentKind::kZero ? 0 : source.depth + 1;
      }
    }
  }
  std::erase_if(memory, [](const auto& entry) { return entry.second == 0; });
  return memory;
}

// A random chain: what each snapshot stores, and what the guest must see.
struct RandomChain {
  PlanInput input;
  std::map<std::uint64_t, std::uint32_t> expected;
};
RandomChain random_chain(std::mt19937_64& random) {
  constexpr std::uint64_t kPages = 200;
  const auto depth = static_cast<std::uint32_t>(1 + random() % 5);
  RandomChain chain;
  chain.input = input_of(kPages, depth);
  std::vector<std::uint32_t> shown(kPages, 0);
  for (std::uint32_t d = depth; d-- > 0;) {  // Oldest first.
    GpaRanges stored;
    for (std::uint64_t at = 0; at < kPages;) {
      const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 12, kPages - at);
      const std::uint64_t kind = random() % 4;  // Inherited twice as often, but for the full one.
      for (std::uint64_t i = at; i < at + count; ++i) {
        shown[i] = kind == 0 ? d + 1 : kind == 1 || d + 1 == depth ? 0 : shown[i];
      }
      if (kind == 0) {
        stored.push_back(pages(at, count));
      }
      at += count;
    }
    chain.input.layers[d].stored = normalize(std::move(stored));
  }
  for (std::uint64_t at = 0; at < kPages;) {
    std::uint64_t end = at + 1;
    while (end < kPages && shown[end] == shown[at]) {
      ++end;
    }
    const GpaRange range = pages(at, end - at);
    chain.input.extents.push_back(shown[at] == 0 ? zero(range) : raw(range, shown[at] - 1));
    at = end;
  }
  for (std::uint64_t i = 0; i < kPages; ++i) {
    if (shown[i] != 0) {
      chain.expected[i] = shown[i];
    }
  }
  return chain;
}

TEST(EveryPolicy, ShowsTheRightBytesOfRandomChains) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 400; ++i) {
    const RandomChain chain = random_chain(random);
    PolicyOptions options;
    options.map_bytes_min = kPage * (1 + random() % 6);
    options.mappings_max = static_cast<std::uint32_t>(random() % 12);
    options.map_all_max = static_cast<std::uint32_t>(random() % 12);
    options.bridge_bytes_max = kPage * (random() % 8);
    for (const NamedPolicy& policy : named_policies()) {
      const RestorePlan plan = must_plan(policy.name, chain.input, options);
      ASSERT_EQ(shown_by(plan, chain.input), chain.expected) << policy.name << ", chain " << i;
    }
  }
}

TEST(EveryPolicy, NamesAllPoliciesWhenAskedForAnUnknownOne) {
  const auto plan = make_plan("eagre", input_of(1, 1));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(plan.error().message, HasSubstr("eager, lazy"));
}

TEST(EveryPolicy, RefusesImpossibleNumbersOfThreads) {
  PolicyOptions options;
  for (const std::uint32_t threads : {0U, 257U}) {
    options.threads = threads;
    EXPECT_EQ(make_plan("eager", input_of(1, 1), options).error().code, Errc::kInvalidArgument);
  }
}

// One broken plan for each rule of check_plan().
TEST(CheckPlan, RefusesPlansThatBreakARule) {
  PlanInput input = input_of(100, 1);
  input.extents = {raw(pages(0, 100))};
  const auto refuses = [&](std::vector<RestoreStep> steps, std::string_view why) {
    RestorePlan plan = must_plan("eager", input);
    plan.steps = std::move(steps);
    const auto result = check_plan(plan, input);
    ASSERT_FALSE(result) << why;
    EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(result.error().message, HasSubstr(std::string(why)));
  };
  refuses({MapPrivateFile{pages(50, 51), 0, 0}}, "not whole pages of one region");
  refuses({Zero{{Gpa{1}, kPage}}}, "not whole pages of one region");
  refuses({Zero{{Gpa{0}, 0}}}, "not whole pages of one region");
  refuses({MapPrivateFile{pages(0, 10), 1, 0}}, "at depth 1");
  refuses({MapPrivateFile{pages(0, 10), 0, 100}}, "not aligned");
  refuses({MapPrivateFile{pages(0, 10), 0, 91 * kPage}}, "leaves the payload");
  refuses({DecompressInto{raw(pages(0, 100))}}, "does not fit its extent");
  refuses({ReadInto{raw(pages(0, 10))}, Zero{pages(20, 1)}}, "maps memory after another");
  refuses({ReadInto{raw(pages(0, 10))}, ReadInto{raw(pages(9, 10))}}, "two steps fill");
  RestorePlan plan = must_plan("eager", input);
  plan.regions[0].range = pages(0, 99);
  EXPECT_THAT(check_plan(plan, input).error().message, HasSubstr("regions"));
}

}  // namespace
}  // namespace stasis::snapshot
