// The central property: save at step n, then continue = restore, then continue. Compared are all of
// memory, every register and the guest's output.
#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/policies/policy_file.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot {
namespace {

using testing::capture_options;
using testing::Format;
using testing::make_toy_machine;
using testing::Observation;
using testing::observe;
using testing::restore_toy;
using testing::TemporaryDirectory;
using testing::ToyConfig;
using testing::ToyMachine;

struct PolicyCase {
  std::string name;
  std::string policy;
  PolicyOptions options;
};

// Eager and lazy in all their variants.
std::vector<PolicyCase> filled_and_mapped() {
  PolicyOptions two_threads;
  two_threads.threads = 2;
  two_threads.huge_pages = HugePages::kTransparent;
  PolicyOptions unchecked;
  unchecked.verify = Verify::kOff;
  unchecked.threads = 3;
  PolicyOptions map_everything;
  map_everything.map_bytes_min = 1;
  map_everything.bridge_bytes_max = 0;
  PolicyOptions few_mappings;
  few_mappings.mappings_max = 2;
  few_mappings.map_bytes_min = 1;
  few_mappings.read_ahead = ReadAhead::kRandom;
  return {{"eager", "eager", {}},
          {"eager with two threads", "eager", two_threads},
          {"eager unchecked", "eager", unchecked},
          {"lazy", "lazy", {}},
          {"lazy, every piece mapped", "lazy", map_everything},
          {"lazy, two mappings", "lazy", few_mappings}};
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STASIS_WATCHES_THREADS 1
#endif
#endif

// ThreadSanitizer multiplies the time: there one policy of each kind of thread is enough.
bool is_left_out(std::string_view policy) {
#ifdef STASIS_WATCHES_THREADS
  return policy != "uffd" && policy != "parallel-faults" && policy != "faasnap";
#else
  return policy == "eager" || policy == "lazy";  // They are there already.
#endif
}

// And every other policy. Those that this host lacks are skipped by name, once, below.
std::vector<PolicyCase> policy_cases() {
  std::vector<PolicyCase> cases = filled_and_mapped();
  for (const Availability& policy : list_policies({})) {
    if (policy.available && !is_left_out(policy.name)) {
      cases.push_back({policy.name, policy.name, {}});
    }
  }
  if (probe_policy(*find_policy("uffd"), {}).available) {
    cases.push_back({"uffd unchecked", "uffd", {}});
    cases.back().options.verify = Verify::kOff;
  }
  return cases;
}

struct Case {
  std::uint64_t page_size_bytes = 4096;
  std::uint32_t vcpus = 1;
  Format format;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.page_size_bytes << "-byte pages, " << c.vcpus << " vCPUs, " << name_of(c.format.layout)
       << ", " << name_of(c.format.codec) << ", " << c.format.chunk_bytes << "-byte chunks";
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
    for (const Format& format : {Format{Layout::kMappable, Codec::kNone, 64U << 10U},
                                 Format{Layout::kPacked, Codec::kNone, 16U << 10U},
                                 Format{Layout::kPacked, Codec::kLz4, 64U << 10U},
                                 Format{Layout::kPacked, Codec::kLz4, 2U << 20U}}) {
      cases.push_back({4096, vcpus, format});
      cases.push_back({16384, vcpus, format});
    }
  }
  cases.push_back({4096, 1, {Layout::kMappable, Codec::kNone, 4096}});
  cases.push_back({4096, 1, {Layout::kPacked, Codec::kLz4, 4096}});
  return cases;
}

bool is_available(const std::string& tracker, const Capabilities& capabilities) {
  const auto trackers = list_trackers(capabilities);
  return std::any_of(trackers.begin(), trackers.end(), [&](const Availability& availability) {
    return availability.name == tracker && availability.available;
  });
}

class RestoreTest : public ::testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] static ToyConfig config(std::uint64_t seed) {
    ToyConfig config;
    config.page_size_bytes = GetParam().page_size_bytes;
    config.vcpus = GetParam().vcpus;
    config.seed = seed;
    return config;
  }

  // Restores `path` by every policy; each must equal `saved` at once, and `continued` after
  // `instructions` more.
  static void expect_continues(const std::string& path, HypervisorBackend& backend,
                               const Observation& saved, std::uint64_t instructions,
                               const Observation& continued,
                               const std::vector<PolicyCase>& policies) {
    for (const PolicyCase& policy : policies) {
      SCOPED_TRACE(policy.name);
      auto restored = restore_toy(path, backend, policy.policy, policy.options);
      ASSERT_TRUE(restored) << restored.error().to_string();
      EXPECT_EQ(observe(*restored->machine, *restored->output), saved);
      ASSERT_TRUE(restored->machine->step(instructions));
      EXPECT_EQ(observe(*restored->machine, *restored->output), continued);
    }
  }

  TemporaryDirectory directory_;
};

TEST_P(RestoreTest, ContinuesAsIfNothingHadHappenedAfterManyDifferentSteps) {
  ToyMachine original = make_toy_machine(config(1));
  for (const std::uint64_t n : {0ULL, 1ULL, 2ULL, 3ULL, 17ULL, 100ULL, 999ULL, 5000ULL}) {
    SCOPED_TRACE("saved after " + std::to_string(n) + " more instructions");
    ASSERT_TRUE(original.machine->step(n));
    const Observation saved = observe(*original.machine, *original.output);
    const std::string path = directory_.path("at-" + std::to_string(n));
    const auto report = capture_full(*original.machine, posix_file_system(), path,
                                     capture_options(GetParam().format));
    ASSERT_TRUE(report) << report.error().to_string();
    ASSERT_TRUE(original.machine->step(2000));
    const Observation continued = observe(*original.machine, *original.output);
    ASSERT_NE(continued, saved) << "the test would prove nothing";
    expect_continues(path, *original.backend, saved, 2000, continued, policy_cases());
  }
}

TEST_P(RestoreTest, ContinuesFromEveryLinkOfAChainOfEightDifferences) {
  constexpr std::uint64_t kLinks = 8;
  for (const char* tracker_name : {"protection", "dirty-log", "compare-hash"}) {
    SCOPED_TRACE(tracker_name);
    ToyMachine original = make_toy_machine(config(2));
    const auto tracker = *make_tracker(tracker_name, *original.machine);
    DirtyAccumulator dirty(*original.machine, *tracker);
    std::string path = directory_.path(std::string(tracker_name) + "-full");
    ASSERT_TRUE(capture_full(*original.machine, posix_file_system(), path,
                             capture_options(GetParam().format)));
    ASSERT_TRUE(dirty.arm());
    for (std::uint64_t link = 1; link <= kLinks; ++link) {
      // Few instructions, so that most pages are inherited; and pages that become zero again.
      ASSERT_TRUE(original.machine->step(40));
      const std::vector<std::byte> zeros(GetParam().page_size_bytes * 2);
      const Gpa at = testing::toy_layout(config(2)).data[0].begin + 3 * zeros.size() * link;
      ASSERT_TRUE(original.machine->memory().write(at, zeros));
      const Observation saved = observe(*original.machine, *original.output);
      const auto parent = SnapshotChain::open(posix_file_system(), path);
      ASSERT_TRUE(parent) << parent.error().to_string();
      path = directory_.path(std::string(tracker_name) + "-" + std::to_string(link));
      // Every other link in another format: a chain may mix them.
      const Format format = link % 3 == 1 ? Format{} : GetParam().format;
      const auto report = capture_diff(*original.machine, dirty, posix_file_system(), path,
                                       capture_options(format, parent->get()));
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_LT(report->considered_bytes, report->memory_bytes / 2);
      ASSERT_TRUE(original.machine->step(200));
      const Observation continued = observe(*original.machine, *original.output);
      // What comes from which link does not depend on who found it.
      expect_continues(
          path, *original.backend, saved, 200, continued,
          tracker_name == std::string("protection") ? policy_cases() : filled_and_mapped());
    }
  }
}

TEST_P(RestoreTest, GivesAMachineThatCanBeTrackedAndSavedAgain) {
  ToyMachine original = make_toy_machine(config(3));
  ASSERT_TRUE(original.machine->step(500));
  const std::string base = directory_.path("base");
  ASSERT_TRUE(capture_full(*original.machine, posix_file_system(), base,
                           capture_options(GetParam().format)));
  for (const PolicyCase& policy : policy_cases()) {
    for (const char* name : {"protection", "dirty-log", "compare", "userfaultfd"}) {
      SCOPED_TRACE(policy.name + ", " + name);
      auto restored = restore_toy(base, *original.backend, policy.policy, policy.options);
      ASSERT_TRUE(restored) << restored.error().to_string();
      if (!is_available(name, original.backend->capabilities())) {
        continue;  // The trackers' own tests say so, as a skip.
      }
      auto tracker = make_tracker(name, *restored->machine);
      if (!tracker) {
        // userfaultfd cannot protect mapped files, and says so.
        EXPECT_EQ(tracker.error().code, Errc::kNotSupported);
        EXPECT_THAT(tracker.error().message, ::testing::HasSubstr("--policy eager"));
        EXPECT_EQ(find_policy(policy.policy)->memory, Underlay::kMapped);
        continue;
      }
      DirtyAccumulator dirty(*restored->machine, **tracker);
      ASSERT_TRUE(dirty.arm());
      ASSERT_TRUE(restored->machine->step(300));
      const auto parent = *SnapshotChain::open(posix_file_system(), base);
      const std::string path = directory_.path("diff-" + policy.name + name);
      const auto report = capture_diff(*restored->machine, dirty, posix_file_system(), path,
                                       capture_options(GetParam().format, parent.get()));
      ASSERT_TRUE(report) << report.error().to_string();
      const Observation saved = observe(*restored->machine, *restored->output);
      auto again = restore_toy(path, *original.backend, "eager");
      ASSERT_TRUE(again) << again.error().to_string();
      EXPECT_EQ(observe(*again->machine, *again->output), saved);
    }
  }
}

TEST(EveryPolicyOnTheMock, IsAvailableOnThisHost) {
  for (const Availability& policy : list_policies({})) {
    if (!policy.available) {
      GTEST_SKIP() << policy.name << ": " << policy.reason << "; " << policy.cure;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OnTheMock, RestoreTest, ::testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace stasis::snapshot
