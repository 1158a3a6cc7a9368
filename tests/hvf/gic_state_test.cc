// The state of an interrupt controller as bytes.
#include "hvf/gic_state.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

constexpr std::uint32_t kSpis = 988;

GicState sample() {
  return {{{0x0, 2}, {0x84, 0xffffffff}, {0x204, 0x300}, {0x420, 0xa0a0a0a0}, {0x6140, 0x1}},
          {8, 40, 987}};
}

TEST(GicStateTest, AStateSurvivesItsBytes) {
  for (const GicState& state : {sample(), GicState{}}) {
    EXPECT_EQ(must(decode_gic_state(encode_gic_state(state), kSpis)), state);
  }
}

TEST(GicStateTest, EveryTruncationIsAnError) {
  const std::vector<std::byte> whole = encode_gic_state(sample());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto refused = decode_gic_state(std::span(whole).first(size), kSpis);
    ASSERT_FALSE(refused) << size;
    EXPECT_EQ(refused.error().code, Errc::kCorruption);
  }
}

TEST(GicStateTest, WhatADistributorHasNotIsRefused) {
  const auto is_refused = [](const GicState& state, std::uint32_t spis = kSpis) {
    const auto decoded = decode_gic_state(encode_gic_state(state), spis);
    return !decoded && decoded.error().code == Errc::kCorruption;
  };
  EXPECT_TRUE(is_refused({{{0x80, 1}}, {}})) << "private interrupts are the redistributors'";
  EXPECT_TRUE(is_refused({{{0x184, 1}}, {}})) << "a register that only clears";
  EXPECT_TRUE(is_refused({{{0x204, 1}, {0x204, 1}}, {}})) << "twice";
  EXPECT_TRUE(is_refused({{{0x204, 1}, {0x84, 1}}, {}})) << "not in order";
  EXPECT_TRUE(is_refused({{}, {988}}));
  EXPECT_TRUE(is_refused({{}, {5, 5}}));
  EXPECT_TRUE(is_refused({{{0x88, 1}}, {}}, 32)) << "of a smaller distributor";
  std::vector<std::byte> longer = encode_gic_state(sample());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_gic_state(longer, kSpis));
}

TEST(GicStateTest, EveryRegisterIsThereOnceAndEnablingComesLast) {
  const std::vector<DistributorRegister> all = distributor_registers(kSpis);
  std::set<std::uint16_t> offsets;
  for (const DistributorRegister& reg : all) {
    EXPECT_TRUE(offsets.insert(reg.offset).second) << reg.offset;
  }
  EXPECT_EQ(all.size(), 4U * 31 + 247 + 62 + 988 + 1);
  EXPECT_EQ(all.back().offset, 0U);
  EXPECT_EQ(all[all.size() - 2].offset, 0x17cU);
  EXPECT_EQ(all[all.size() - 2].clear_offset, 0x1fcU);
  EXPECT_TRUE(offsets.contains(0x7fd8)) << "GICD_IROUTER1019";
  EXPECT_TRUE(offsets.contains(0x7f8)) << "GICD_IPRIORITYR254";
}

TEST(GicStateTest, ALevelThatIsHighIsNotPendingByItself) {
  // Lines 8 and 9 (INTIDs 40 and 41) are high and pending, the second triggered by edges.
  GicState state{{{0x204, 0x700}, {0xc08, 2U << (2 * (41 % 16))}}, {8, 9}};
  remove_pending_levels(state);
  EXPECT_EQ(state.registers[0].value, 0x600U) << "42 was made pending by software";
}

}  // namespace
}  // namespace stasis::hvf
