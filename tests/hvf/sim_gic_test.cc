// The simulation's interrupt controller as registers, without a guest.
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "hvf/sim/gic.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::uint16_t kPmr = 0xc230, kIar1 = 0xc660, kEoir1 = 0xc661, kIar0 = 0xc640,
                        kHppir1 = 0xc662, kDir = 0xc659, kRpr = 0xc65b, kCtlr = 0xc664,
                        kBpr1 = 0xc663, kIgrpen0 = 0xc666, kIgrpen1 = 0xc667, kSgi1r = 0xc65d;
constexpr std::uint64_t kSgiFrame = 0x10000;

// Everything of group 1, enabled, at priority 0xa0, routed to the first of `cpus`.
class SimGicTest : public testing::Test {
 protected:
  void SetUp() override { set_up(2); }
  void set_up(std::uint32_t cpus) {
    gic_ = {};
    gic_.write_distributor(0, 4, 3);
    for (std::uint32_t i = 0; i < cpus; ++i) {
      ASSERT_EQ(gic_.add_cpu(), i);
      gic_.set_affinity(i, 0x80000000U | i);
      gic_.write_redistributor(i, kSgiFrame + 0x80, 4, 0xffffffff);
      gic_.write_redistributor(i, kSgiFrame + 0x100, 4, 0xffffffff);
      for (std::uint32_t intid = 0; intid < 32; intid += 4) {
        gic_.write_redistributor(i, kSgiFrame + 0x400 + intid, 4, 0xa0a0a0a0);
      }
      ASSERT_TRUE(gic_.write_icc(i, kPmr, 0xf0));
      ASSERT_TRUE(gic_.write_icc(i, kIgrpen1, 1));
    }
    for (std::uint32_t intid = 32; intid < 1020; intid += 4) {
      gic_.write_distributor(0x400 + intid, 4, 0xa0a0a0a0);
    }
    for (std::uint32_t word = 1; word < 32; ++word) {
      gic_.write_distributor(0x80 + 4 * word, 4, 0xffffffff);
      gic_.write_distributor(0x100 + 4 * word, 4, 0xffffffff);
    }
  }
  std::uint64_t acknowledge(std::uint32_t cpu = 0) { return *gic_.read_icc(cpu, kIar1); }
  void end(std::uint64_t intid, std::uint32_t cpu = 0) {
    EXPECT_TRUE(gic_.write_icc(cpu, kEoir1, intid));
  }

  Gic gic_;
};

TEST_F(SimGicTest, ALevelIsPendingForAsLongAsItIsHigh) {
  EXPECT_FALSE(gic_.has_irq(0));
  gic_.set_spi(40, true);
  EXPECT_TRUE(gic_.has_irq(0));
  EXPECT_FALSE(gic_.has_irq(1)) << "routed to CPU 0";
  EXPECT_EQ(acknowledge(), 40U);
  EXPECT_FALSE(gic_.has_irq(0)) << "active";
  EXPECT_EQ(acknowledge(), 1023U);
  end(40);
  EXPECT_TRUE(gic_.has_irq(0)) << "still high";
  gic_.set_spi(40, false);
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_EQ(acknowledge(), 1023U) << "spurious";
}

TEST_F(SimGicTest, AnEdgeIsPendingOnceUntilItIsAcknowledged) {
  gic_.write_distributor(0xc00 + 4 * (40 / 16), 4, 2U << (2 * (40 % 16)));
  gic_.set_spi(40, true);
  gic_.set_spi(40, false);
  EXPECT_TRUE(gic_.has_irq(0));
  EXPECT_EQ(acknowledge(), 40U);
  gic_.set_spi(40, true);
  EXPECT_FALSE(gic_.has_irq(0)) << "pending again, but active";
  end(40);
  EXPECT_EQ(acknowledge(), 40U);
  end(40);
  EXPECT_FALSE(gic_.has_irq(0)) << "the line is high, but that is no edge";
}

TEST_F(SimGicTest, TheMoreUrgentComesFirstAndInterruptsTheOther) {
  gic_.write_distributor(0x400 + 50, 1, 0x20);
  gic_.set_spi(40, true);
  gic_.set_spi(41, true);
  EXPECT_EQ(acknowledge(), 40U) << "the lower number";
  EXPECT_EQ(*gic_.read_icc(0, kRpr), 0xa0U);
  EXPECT_FALSE(gic_.has_irq(0)) << "41 is not more urgent";
  gic_.set_spi(50, true);
  EXPECT_EQ(*gic_.read_icc(0, kHppir1), 50U);
  EXPECT_EQ(acknowledge(), 50U);
  EXPECT_EQ(*gic_.read_icc(0, kRpr), 0x20U);
  gic_.set_spi(50, false);
  end(50);
  EXPECT_EQ(*gic_.read_icc(0, kRpr), 0xa0U);
  end(40);
  EXPECT_EQ(*gic_.read_icc(0, kRpr), 0xffU);
}

TEST_F(SimGicTest, ABinaryPointSaysWhichPrioritiesInterruptEachOther) {
  ASSERT_TRUE(gic_.write_icc(0, kBpr1, 7));  // One bit decides.
  gic_.write_distributor(0x400 + 50, 1, 0x90);
  gic_.set_spi(40, true);
  EXPECT_EQ(acknowledge(), 40U);
  gic_.set_spi(50, true);
  EXPECT_FALSE(gic_.has_irq(0));
  ASSERT_TRUE(gic_.write_icc(0, kBpr1, 0));
  EXPECT_EQ(*gic_.peek_icc(0, kBpr1), 3U) << "the least there is";
}

TEST_F(SimGicTest, MasksAndGroupsKeepInterruptsBack) {
  gic_.set_spi(40, true);
  ASSERT_TRUE(gic_.write_icc(0, kPmr, 0xa0));
  EXPECT_FALSE(gic_.has_irq(0)) << "as urgent as the mask is not enough";
  ASSERT_TRUE(gic_.write_icc(0, kPmr, 0xa8));
  EXPECT_TRUE(gic_.has_irq(0));
  ASSERT_TRUE(gic_.write_icc(0, kIgrpen1, 0));
  EXPECT_FALSE(gic_.has_irq(0));
  ASSERT_TRUE(gic_.write_icc(0, kIgrpen1, 1));
  gic_.write_distributor(0, 4, 1);
  EXPECT_FALSE(gic_.has_irq(0)) << "GICD_CTLR.EnableGrp1";
  gic_.write_distributor(0, 4, 3);
  gic_.write_distributor(0x180 + 4, 4, 1U << 8U);
  EXPECT_FALSE(gic_.has_irq(0)) << "GICD_ICENABLER";
}

TEST_F(SimGicTest, GroupZeroIsAnFiq) {
  gic_.write_distributor(0x80 + 4, 4, ~(1U << 8U));
  gic_.set_spi(40, true);
  EXPECT_FALSE(gic_.has_fiq(0)) << "ICC_IGRPEN0_EL1 is off";
  ASSERT_TRUE(gic_.write_icc(0, kIgrpen0, 1));
  EXPECT_TRUE(gic_.has_fiq(0));
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_EQ(acknowledge(), 1023U);
  EXPECT_EQ(*gic_.read_icc(0, kIar0), 40U);
}

TEST_F(SimGicTest, DeactivationIsAStepOfItsOwnWhereTheGuestWantsThat) {
  ASSERT_TRUE(gic_.write_icc(0, kCtlr, 2));  // EOImode.
  EXPECT_EQ(*gic_.peek_icc(0, kCtlr), 0x402U) << "five bits of priority";
  gic_.set_spi(40, true);
  EXPECT_EQ(acknowledge(), 40U);
  end(40);
  EXPECT_EQ(*gic_.read_icc(0, kRpr), 0xffU);
  EXPECT_FALSE(gic_.has_irq(0)) << "still active";
  EXPECT_TRUE(gic_.write_icc(0, kDir, 40));
  EXPECT_TRUE(gic_.has_irq(0));
}

TEST_F(SimGicTest, RoutesFollowAffinities) {
  gic_.write_distributor(0x6000 + 8 * 40, 8, 1);
  gic_.set_spi(40, true);
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_TRUE(gic_.has_irq(1));
  gic_.write_distributor(0x6000 + 8 * 40, 8, 0x100);
  EXPECT_FALSE(gic_.has_irq(0) || gic_.has_irq(1)) << "there is no such CPU";
  gic_.set_affinity(1, 0x80000100);
  EXPECT_TRUE(gic_.has_irq(1));
  gic_.write_distributor(0x6000 + 8 * 40, 8, 1U << 31U);
  EXPECT_TRUE(gic_.has_irq(0)) << "any CPU may take it";
  EXPECT_FALSE(gic_.has_irq(1));
}

TEST_F(SimGicTest, SoftwareInterruptsReachThoseThatTheyName) {
  set_up(3);
  EXPECT_TRUE(gic_.write_icc(0, kSgi1r, std::uint64_t{5} << 24U | 0b110));
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_TRUE(gic_.has_irq(1) && gic_.has_irq(2));
  EXPECT_EQ(acknowledge(1), 5U);
  EXPECT_EQ(acknowledge(2), 5U);
  end(5, 1);
  end(5, 2);
  EXPECT_TRUE(gic_.write_icc(1, kSgi1r, std::uint64_t{1} << 40U | std::uint64_t{3} << 24U));
  EXPECT_TRUE(gic_.has_irq(0) && gic_.has_irq(2)) << "all but itself";
  EXPECT_FALSE(gic_.has_irq(1));
  gic_.set_affinity(2, 0x80000012);  // Aff0 18: the second range of sixteen.
  EXPECT_EQ(acknowledge(2), 3U);
  end(3, 2);
  EXPECT_TRUE(gic_.write_icc(1, kSgi1r, std::uint64_t{1} << 44U | std::uint64_t{4} << 24U | 4));
  EXPECT_TRUE(gic_.has_irq(2));
}

TEST_F(SimGicTest, APrivateInterruptIsOfOneCpu) {
  gic_.set_ppi(1, 27, true);
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_EQ(acknowledge(1), 27U);
}

TEST_F(SimGicTest, FramesSayWhatTheyAre) {
  EXPECT_EQ(gic_.read_distributor(0, 4), 0x53U) << "DS, ARE, both groups";
  EXPECT_EQ(gic_.read_distributor(4, 4) & 31U, 31U) << "1020 interrupts";
  EXPECT_EQ(gic_.read_distributor(0xffe8, 4) >> 4U & 0xfU, 3U) << "GICv3";
  EXPECT_EQ(gic_.read_redistributor(0, 8, 8), 0U);
  EXPECT_EQ(gic_.read_redistributor(1, 8, 8), std::uint64_t{1} << 32U | 0x110U) << "the last";
  EXPECT_EQ(gic_.read_redistributor(0, 0x14, 4), 0U) << "awake";
  gic_.write_distributor(0x400 + 41, 1, 0xff);
  EXPECT_EQ(gic_.read_distributor(0x400 + 40, 4), 0xa0a0f8a0U);
  EXPECT_EQ(gic_.read_distributor(0x400 + 41, 1), 0xf8U);
  EXPECT_EQ(gic_.read_distributor(0x100, 4), 0U) << "private interrupts are the redistributors'";
  EXPECT_EQ(gic_.read_distributor(0x100 + 4 * 31, 4), 0x0fffffffU);
  gic_.write_redistributor(0, kSgiFrame + 0xc00, 4, 0);
  EXPECT_EQ(gic_.read_redistributor(0, kSgiFrame + 0xc00, 4), 0xaaaaaaaaU) << "SGIs are edges";
}

TEST_F(SimGicTest, ASavedStateContinuesInAnother) {
  gic_.write_distributor(0x6000 + 8 * 50, 8, 1);
  gic_.set_spi(40, true);
  EXPECT_EQ(acknowledge(), 40U);
  gic_.set_spi(50, true);
  gic_.set_ppi(1, 27, true);
  const std::vector<std::byte> bytes = gic_.save();
  set_up(2);
  ASSERT_TRUE(gic_.load(bytes));
  EXPECT_EQ(gic_.save(), bytes);
  EXPECT_FALSE(gic_.has_irq(0)) << "40 is active";
  end(40);
  EXPECT_TRUE(gic_.has_irq(0));
  EXPECT_EQ(acknowledge(1), 27U);
  end(27, 1);
  gic_.set_ppi(1, 27, false);
  EXPECT_EQ(acknowledge(1), 50U);
}

TEST_F(SimGicTest, BytesThatAreNoStateAreRefused) {
  const std::vector<std::byte> good = gic_.save();
  std::vector<std::byte> bytes = good;
  bytes.pop_back();
  EXPECT_FALSE(gic_.load(bytes));
  bytes = good;
  bytes[0] ^= std::byte{1};
  EXPECT_FALSE(gic_.load(bytes));
  set_up(3);
  EXPECT_FALSE(gic_.load(good)) << "of two CPUs";
}

TEST_F(SimGicTest, AResetKeepsCpusAndInputs) {
  gic_.set_spi(40, true);
  EXPECT_EQ(acknowledge(), 40U);
  gic_.reset();
  EXPECT_EQ(gic_.cpu_count(), 2U);
  EXPECT_FALSE(gic_.has_irq(0));
  EXPECT_EQ(gic_.read_distributor(0x200 + 4, 4), 1U << 8U) << "the line is still high";
  EXPECT_EQ(gic_.read_distributor(0x300 + 4, 4), 0U);
}

TEST_F(SimGicTest, RegistersThatAreNotThereAreRefused) {
  EXPECT_FALSE(gic_.read_icc(0, 0xc649).has_value()) << "ICC_AP1R1_EL1";
  EXPECT_FALSE(gic_.read_icc(0, kEoir1).has_value()) << "write-only";
  EXPECT_FALSE(gic_.write_icc(0, kIar1, 0)) << "read-only";
  EXPECT_FALSE(gic_.peek_icc(0, kIar1).has_value()) << "has a side effect";
}

}  // namespace
}  // namespace stasis::hvf::sim
