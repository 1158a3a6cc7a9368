#include "guests/arm64_linux/pl011.h"

#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::guests::arm64 {
namespace {

constexpr std::uint64_t kData = 0, kFlags = 0x18, kMask = 0x38, kRaw = 0x3c, kMasked = 0x40,
                        kClear = 0x44;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Pl011Test, ItIsReadyToSendAndHasNothingReceived) {
  Pl011 port;
  EXPECT_EQ(port.read(kFlags), 0x90U);
  EXPECT_EQ(port.read(kData), 0U);
  EXPECT_EQ(port.write(kData, 'x'), 'x');
  EXPECT_EQ(port.write(kMask, 0), std::nullopt) << "sends nothing";
}

TEST(Pl011Test, ItSaysWhatItIs) {
  Pl011 port;
  std::uint32_t peripheral = 0, cell = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    peripheral |= port.read(0xfe0 + 4 * i) << (8 * i);
    cell |= port.read(0xff0 + 4 * i) << (8 * i);
  }
  EXPECT_EQ(peripheral & 0xfffffU, 0x41011U) << "Arm's, part 011";
  EXPECT_EQ(cell, 0xb105f00dU);
}

TEST(Pl011Test, WhatWaitsAsksForAnInterruptUntilItIsRead) {
  Pl011 port;
  must(port.receive(bytes_of("ab")));
  EXPECT_FALSE(port.interrupts()) << "masked";
  port.write(kMask, 0x10);
  EXPECT_TRUE(port.interrupts());
  port.write(kClear, 0x7ff);
  EXPECT_TRUE(port.interrupts()) << "still waits";
  EXPECT_EQ(port.read(kFlags) & 0x10U, 0U);
  EXPECT_EQ(port.read(kData), 'a');
  EXPECT_EQ(port.read(kData), 'b');
  EXPECT_FALSE(port.interrupts());
  EXPECT_EQ(port.read(kFlags) & 0x10U, 0x10U);
}

TEST(Pl011Test, SendingAsksForAnInterruptUntilItIsCleared) {
  Pl011 port;
  port.write(kMask, 0x20);
  EXPECT_FALSE(port.interrupts());
  port.write(kData, 'x');
  EXPECT_EQ(port.read(kRaw), 0x20U);
  EXPECT_EQ(port.read(kMasked), 0x20U);
  EXPECT_TRUE(port.interrupts());
  port.write(kClear, 0x20);
  EXPECT_FALSE(port.interrupts());
}

TEST(Pl011Test, ASavedPortContinuesInAnother) {
  Pl011 port;
  must(port.receive(bytes_of("rest")));
  for (const std::uint64_t offset : {0x24U, 0x28U, 0x2cU, 0x30U, 0x34U, 0x38U, 0x48U}) {
    port.write(offset, 0xffffffff);
  }
  port.write(kData, 'x');
  Pl011 other;
  must(other.load(port.save()));
  EXPECT_EQ(other.save(), port.save());
  for (std::uint64_t offset = 4; offset < 0x1000; offset += 4) {
    EXPECT_EQ(other.read(offset), port.read(offset)) << offset;
  }
  EXPECT_EQ(other.read(kData), 'r');
}

TEST(Pl011Test, BytesThatAreNoStateAreRefused) {
  const std::vector<std::byte> good = Pl011().save();
  Pl011 port;
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(port.load(std::span(good).first(size))) << size;
  }
  for (std::size_t i = 3; i < good.size(); i += 4) {
    std::vector<std::byte> bad = good;
    bad[i] = std::byte{0xff};
    const auto refused = port.load(bad);
    ASSERT_FALSE(refused) << i;
    EXPECT_EQ(refused.error().code, Errc::kCorruption);
  }
}

TEST(Pl011Test, MoreThanCanWaitIsRefusedAndNothingOfIt) {
  Pl011 port;
  const std::vector<std::byte> most(Pl011::kWaitingBytesMax);
  must(port.receive(most));
  const auto refused = port.receive(bytes_of("x"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kOutOfRange);
  EXPECT_EQ(port.waiting(), most.size());
}

}  // namespace
}  // namespace stasis::guests::arm64
