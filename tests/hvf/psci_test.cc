// The firmware interface: calls as values, and the CPUs that they turn on and off.
#include "hvf/psci.h"

#include <array>
#include <thread>

#include <gtest/gtest.h>

#include "hvf/cpu_power.h"

namespace stasis::hvf {
namespace {

using Arguments = std::array<std::uint64_t, 4>;

constexpr std::uint64_t kNotSupported = UINT64_MAX;
constexpr std::uint64_t kInvalid = UINT64_MAX - 1;

struct Case {
  Arguments arguments;
  PsciCall expected;
};

TEST(Psci, EachCallIsDecodedByItsNumber) {
  const Case cases[] = {
      {{0x84000000}, PsciAnswer{0x10001}},
      {{0x80000000}, PsciAnswer{0x10001}},
      {{0x84000006}, PsciAnswer{2}},
      {{0x84000002}, PsciCpuOff{}},
      {{0x84000008}, PsciSystemOff{}},
      {{0x84000009}, PsciSystemReset{}},
      {{0xc4000001, 0, 0, 0}, PsciCpuSuspend{}},
      {{0x84000001, 0, 0, 0}, PsciCpuSuspend{}},
      {{0xc4000003, 0x100, 0x4'0000'0000, 7}, PsciCpuOn{0x100, 0x4'0000'0000, 7}},
      {{0x84000003, 0xf'0000'0001, 0xf'4000'0000, 0xf'0000'0007}, PsciCpuOn{1, 0x40000000, 7}},
      {{0xc4000004, 3, 0}, PsciAffinityInfo{3}},
      {{0x84000004, 0xf'0000'0003, 0}, PsciAffinityInfo{3}},
      {{0xc4000004, 3, 1}, PsciAnswer{kInvalid}},
      // What there is not: SMC64 forms of 32-bit functions, MIGRATE, SYSTEM_RESET2, vendors' own.
      {{0xc4000002}, PsciAnswer{kNotSupported}},
      {{0x84000005}, PsciAnswer{kNotSupported}},
      {{0x84000012}, PsciAnswer{kNotSupported}},
      {{0x86000000}, PsciAnswer{kNotSupported}},
      {{0}, PsciAnswer{kNotSupported}},
      // Of the function's number only 32 bits count.
      {{0xffffffff'84000008}, PsciSystemOff{}},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(decode_psci(one.arguments), one.expected) << std::hex << one.arguments[0];
  }
}

TEST(Psci, FeaturesNamesExactlyTheFunctionsThatThereAre) {
  for (const std::uint64_t there :
       {0x84000000U, 0x84000001U, 0x84000002U, 0x84000003U, 0x84000004U, 0x84000006U, 0x84000008U,
        0x84000009U, 0x8400000aU, 0x80000000U, 0xc4000001U, 0xc4000003U, 0xc4000004U}) {
    EXPECT_EQ(decode_psci({0x8400000a, there}), PsciCall(PsciAnswer{0})) << std::hex << there;
  }
  for (const std::uint64_t missing : {0x84000005U, 0x84000007U, 0x8400000bU, 0xc400000eU, 0U}) {
    EXPECT_EQ(decode_psci({0x8400000a, missing}), PsciCall(PsciAnswer{kNotSupported}))
        << std::hex << missing;
  }
}

class CpuPowerTest : public testing::Test {
 protected:
  CpuPowerTest() {
    power_.add(0, 0x80000000);
    power_.add(1, 0x80000001);
    power_.set(1, CpuPower::Power::kOff);
  }
  CpuPower power_{3};  // The third is not there.
};

TEST_F(CpuPowerTest, ACpuGoesFromOffOverPendingToOn) {
  EXPECT_EQ(power_.affinity_info(0), 0U);
  EXPECT_EQ(power_.affinity_info(1), 1U);
  EXPECT_EQ(power_.turn_on({1, 0x40000000, 5}), PsciStatus::kSuccess);
  EXPECT_EQ(power_.affinity_info(1), 2U);
  EXPECT_FALSE(power_.is_on(1));
  EXPECT_EQ(power_.turn_on({1, 0, 0}), PsciStatus::kOnPending);
  EXPECT_TRUE(power_.wait_for_start(1));
  EXPECT_EQ(power_.take_start(1), (CpuStart{0x40000000, 5}));
  EXPECT_EQ(power_.take_start(1), std::nullopt);
  EXPECT_TRUE(power_.is_on(1));
  EXPECT_EQ(power_.affinity_info(1), 0U);
  EXPECT_EQ(power_.turn_on({1, 0, 0}), PsciStatus::kAlreadyOn);
  power_.turn_off(1);
  EXPECT_EQ(power_.affinity_info(1), 1U);
}

TEST_F(CpuPowerTest, ACpuThatIsNotThereIsRefused) {
  EXPECT_EQ(power_.turn_on({2, 0, 0}), PsciStatus::kInvalidParameters);
  EXPECT_EQ(power_.turn_on({0x80000001, 0, 0}), PsciStatus::kInvalidParameters)
      << "other bits of MPIDR_EL1 are no affinity";
  EXPECT_EQ(power_.affinity_info(0x100), kInvalid);
}

TEST_F(CpuPowerTest, WaitingEndsWithAStartAndWithAWakeUp) {
  power_.wake(1);
  EXPECT_FALSE(power_.wait_for_start(1)) << "the wake-up came before the wait";
  std::thread other([&] { EXPECT_EQ(power_.turn_on({1, 4, 0}), PsciStatus::kSuccess); });
  EXPECT_TRUE(power_.wait_for_start(1));
  other.join();
  EXPECT_EQ(power_.take_start(1), (CpuStart{4, 0}));
}

}  // namespace
}  // namespace stasis::hvf
