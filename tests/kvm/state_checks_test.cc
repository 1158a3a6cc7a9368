// What a host must refuse of a saved state, on hosts that do not exist here.
#include "kvm/state_checks.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/kvm_uapi.h"
#include "tests/support/must.h"

namespace stasis::kvm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kAvx = 0x7;      // x87, SSE, AVX.
constexpr std::uint64_t kAvx512 = 0xe7;  // And bits 5, 6, 7.

std::vector<X86Xcr> xcr0(std::uint64_t value) {
  return {{.index = 0, .value = value}};
}

TEST(PlanXcrs, AVcpuInItsResetStateNeedsNothing) {
  for (const Engine engine : {Engine::kHardware, Engine::kPvm}) {
    EXPECT_EQ(must(plan_xcrs({}, VcpuHistory::kUsed, engine, kAvx)), XcrLoad::kNothing);
    EXPECT_EQ(must(plan_xcrs(xcr0(1), VcpuHistory::kFresh, engine, kAvx)), XcrLoad::kNothing);
  }
  EXPECT_EQ(must(plan_xcrs(xcr0(1), VcpuHistory::kUsed, Engine::kHardware, kAvx)), XcrLoad::kSet);
}

TEST(PlanXcrs, OnHardwareEveryOtherValueIsSet) {
  EXPECT_EQ(must(plan_xcrs(xcr0(kAvx), VcpuHistory::kFresh, Engine::kHardware, kAvx)),
            XcrLoad::kSet);
  EXPECT_EQ(must(plan_xcrs(xcr0(kAvx512), VcpuHistory::kFresh, Engine::kHardware, kAvx)),
            XcrLoad::kSet)
      << "whether it can be set is for KVM to say";
}

TEST(PlanXcrs, UnderPvmWhatTheHostHasIsThereAlready) {
  EXPECT_EQ(must(plan_xcrs(xcr0(kAvx), VcpuHistory::kUsed, Engine::kPvm, kAvx512)),
            XcrLoad::kNothing);
  EXPECT_EQ(must(plan_xcrs(xcr0(kAvx512), VcpuHistory::kUsed, Engine::kPvm, kAvx)), XcrLoad::kSet);
  const std::vector<X86Xcr> two = {{.index = 0, .value = kAvx}, {.index = 1, .value = 0}};
  EXPECT_EQ(must(plan_xcrs(two, VcpuHistory::kUsed, Engine::kPvm, kAvx)), XcrLoad::kSet);
}

TEST(PlanXcrs, MoreThanKvmCanTakeIsRefused) {
  const std::vector<X86Xcr> many(KVM_MAX_XCRS + 1, X86Xcr{.index = 0, .value = 1});
  const auto refused = plan_xcrs(many, VcpuHistory::kFresh, Engine::kHardware, kAvx);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("17 extended"), HasSubstr("at most 16")));
}

TEST(RefusedXcr0, NamesTheBitsThatTheHostLacksAndWhatTheyAre) {
  const Error error = refused_xcr0(kAvx512, kAvx);
  EXPECT_EQ(error.code, Errc::kMismatch);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("XCR0 = 0xe7"), HasSubstr("guests can have 0x7"),
                    HasSubstr("5 (AVX-512 opmask), 6 (AVX-512 ZMM_Hi256), 7 (AVX-512 Hi16_ZMM)"),
                    HasSubstr("restore on a host with these CPU features")));
  EXPECT_THAT(error.message, Not(HasSubstr("2 (AVX)")));
}

TEST(RefusedXcr0, NamesBitsThatNobodyKnowsByNumber) {
  EXPECT_THAT(refused_xcr0((std::uint64_t{1} << 63U) | kAvx, kAvx).message,
              HasSubstr("not bit 63 (unknown)"));
  EXPECT_THAT(refused_xcr0((std::uint64_t{1} << 18U) | kAvx, kAvx).message,
              HasSubstr("not bit 18 (AMX tile data)"));
}

TEST(RefusedXcr0, WithoutABitTooManyItStillNamesBothValues) {
  EXPECT_THAT(refused_xcr0(0x5, kAvx).message,  // AVX without SSE: not legal anywhere.
              AllOf(HasSubstr("XCR0 = 0x5"), HasSubstr("0x7: restore"), Not(HasSubstr("not bit"))));
}

TEST(PlanTscKhz, ADifferenceThatNoClockCanTellIsTheNativeFrequency) {
  constexpr std::uint32_t kNative = 2'000'000;
  // 250 ppm are 500 kHz.
  for (const std::uint32_t saved : {kNative, kNative - 500, kNative + 500}) {
    EXPECT_EQ(must(plan_tsc_khz(saved, kNative, false)), kNative) << saved;
    EXPECT_EQ(must(plan_tsc_khz(saved, kNative, true)), kNative) << saved;
  }
}

TEST(PlanTscKhz, AnotherFrequencyIsScaledToWhereKvmCan) {
  EXPECT_EQ(must(plan_tsc_khz(2'000'501, 2'000'000, true)), 2'000'501U);
  EXPECT_EQ(must(plan_tsc_khz(1'000'000, 3'000'000, true)), 1'000'000U);
}

TEST(PlanTscKhz, AnotherFrequencyIsRefusedWhereKvmCannotScaleNamingBoth) {
  for (const std::uint32_t saved : {1'999'499U, 2'000'501U, 4'294'967'295U}) {
    const auto refused = plan_tsc_khz(saved, 2'000'000, false);
    ASSERT_FALSE(refused) << saved;
    EXPECT_EQ(refused.error().code, Errc::kMismatch);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr("runs at " + std::to_string(saved) + " kHz"),
                      HasSubstr("this host's at 2000000 kHz"), HasSubstr("cannot scale"),
                      HasSubstr("restore on a host with that frequency")));
  }
}

}  // namespace
}  // namespace stasis::kvm
