// The small values of core/: errors, text, milestones, clock, file descriptors.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/capabilities.h"
#include "core/clock.h"
#include "core/milestones.h"
#include "core/names.h"
#include "core/result.h"
#include "core/text.h"
#include "core/unique_fd.h"
#include "core/vcpu_state.h"

namespace stasis {
namespace {

Result<std::unique_ptr<int>> half(int value) {
  if (value % 2 != 0) {
    return Error{Errc::kInvalidArgument, 0, "odd"};
  }
  return std::make_unique<int>(value / 2);
}

Result<int> quarter(int value) {
  STASIS_ASSIGN(const std::unique_ptr<int> first, half(value));
  STASIS_ASSIGN(const std::unique_ptr<int> second, half(*first));
  return *second;
}

TEST(Result, AssignPassesValuesOnAndErrorsUp) {
  EXPECT_EQ(*quarter(12), 3);
  const Result<int> refused = quarter(6);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().to_string(), "invalid argument: odd");
}

TEST(Result, ContextReadsOutsideIn) {
  Error error{Errc::kCorruption, 0, "bad length"};
  error = std::move(error).with_context("manifest");
  error = std::move(error).with_context("restore 'a.snap'");
  EXPECT_EQ(error.message, "restore 'a.snap': manifest: bad length");
  EXPECT_THAT(errno_error(ENOENT, "open 'x'").message, testing::HasSubstr("No such file"));
}

TEST(Text, BytesAreShownInTheLargestExactUnit) {
  EXPECT_EQ(describe_bytes(0), "0 bytes");
  EXPECT_EQ(describe_bytes(4095), "4095 bytes");
  EXPECT_EQ(describe_bytes(4096), "4 KiB");
  EXPECT_EQ(describe_bytes((std::uint64_t{3} << 30) / 2), "1536 MiB");
  EXPECT_EQ(describe_bytes(std::uint64_t{128} << 40), "128 TiB");
  EXPECT_EQ(describe_bytes(std::uint64_t{1} << 63), "8 EiB");
}

TEST(Text, TheNameThatWasMeantIsFoundUnlessItIsTooFarAway) {
  const std::array<std::string_view, 3> names = {"restore", "run", "diff"};
  EXPECT_EQ(closest_name("restor", names), "restore");
  EXPECT_EQ(closest_name("restroe", names), "restore");
  EXPECT_EQ(closest_name("run", names), "run");
  EXPECT_EQ(closest_name("xyzzy", names), "");
  EXPECT_EQ(closest_name("run", {}), "");
  EXPECT_EQ(join_names(names), "restore, run, diff");
}

TEST(Text, RangesAreShownInHexadecimal) {
  EXPECT_EQ(hex(0), "0x0");
  EXPECT_EQ(hex(UINT64_MAX), "0xffffffffffffffff");
  EXPECT_EQ(describe(GpaRange{Gpa{0x1000}, 0x20}), "[0x1000, +0x20)");
}

TEST(Milestones, KeepTheFirstTimeAndCountFromTheBegin) {
  MilestoneLog log;
  EXPECT_FALSE(log.at(Milestone::kMapped).has_value());
  log.record_at(Milestone::kMapped, 150);
  EXPECT_FALSE(log.since_begin(Milestone::kMapped).has_value()) << "no begin yet";
  log.record_at(Milestone::kBegin, 100);
  log.record_at(Milestone::kMapped, 900);
  EXPECT_EQ(log.since_begin(Milestone::kMapped), 50);
}

TEST(Milestones, HaveDistinctNames) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    names.insert(name_of(static_cast<Milestone>(i)));
  }
  EXPECT_EQ(names.size(), kMilestoneCount);
  EXPECT_EQ(names.count("unknown milestone"), 0U);
}

TEST(HostClock, GoesForwardAndKnowsTheDate) {
  const MonotonicNs before = host_clock().now();
  const MonotonicNs after = host_clock().now();
  EXPECT_GE(after, before);
  EXPECT_GT(before, 0);
  EXPECT_GT(host_clock().wall_ns(), std::int64_t{1'577'836'800} * 1'000'000'000);  // 2020.
}

TEST(UniqueFd, OwnsItsDescriptor) {
  const int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(raw, 0);
  UniqueFd fd(raw);
  UniqueFd moved(std::move(fd));
  EXPECT_EQ(moved.get(), raw);
  EXPECT_TRUE(moved.close());
  EXPECT_FALSE(moved.is_open());
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

TEST(VcpuState, KnowsItsArchitecture) {
  EXPECT_EQ(architecture_of(X86VcpuState{}), Architecture::kX86_64);
  EXPECT_EQ(architecture_of(Arm64VcpuState{}), Architecture::kArm64);
  EXPECT_EQ(architecture_of(ToyVcpuState{}), Architecture::kToy);
}

}  // namespace
}  // namespace stasis
