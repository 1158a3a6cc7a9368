#include "guests/doorbell_state.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/abi.h"

namespace stasis::guests {
namespace {

using ::testing::HasSubstr;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

DoorbellState busy_state() {
  return DoorbellState{.mailbox = 0x40000,
                       .rung = true,
                       .service_vcpu = 3,
                       .delivered_seq = 8,
                       .responded_seq = 7,
                       .restore_count = 2,
                       .queue = {bytes_of("next"), bytes_of(""), bytes_of("last")}};
}

TEST(DoorbellState, SurvivesEncoding) {
  for (const DoorbellState& state : {DoorbellState{}, busy_state()}) {
    const Result<DoorbellState> decoded = decode_doorbell_state(encode_doorbell_state(state));
    ASSERT_TRUE(decoded) << decoded.error().to_string();
    EXPECT_EQ(*decoded, state);
  }
}

// Written by version 1; later versions must go on reading it.
TEST(DoorbellState, HasTheBytesOfVersionOne) {
  DoorbellState state;
  state.mailbox = 0x40000;
  state.rung = true;
  state.delivered_seq = 1;
  state.queue = {bytes_of("q")};
  std::string expected;
  expected += std::string("\0\0\4\0\0\0\0\0", 8) + std::string("\1\0\0\0", 4);
  expected += std::string("\0\0\0\0", 4) + std::string("\1\0\0\0\0\0\0\0", 8);
  expected += std::string(16, '\0');
  expected += std::string("\1\0\0\0", 4) + std::string("\1\0\0\0", 4) + "q";
  EXPECT_EQ(encode_doorbell_state(state), bytes_of(expected));
  EXPECT_EQ(kDoorbellStateVersion, 1);
}

TEST(DoorbellState, EveryTruncationIsRefused) {
  const std::vector<std::byte> bytes = encode_doorbell_state(busy_state());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Result<DoorbellState> decoded = decode_doorbell_state(std::span(bytes).first(size));
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().code, Errc::kCorruption);
  }
}

TEST(DoorbellState, BytesBehindTheEndAreRefused) {
  std::vector<std::byte> bytes = encode_doorbell_state(busy_state());
  bytes.push_back(std::byte{0});
  EXPECT_THAT(decode_doorbell_state(bytes).error().message, HasSubstr("end"));
}

TEST(DoorbellState, WhatEveryBitFlipDecodesToEncodesToTheSameBytes) {
  const std::vector<std::byte> bytes = encode_doorbell_state(busy_state());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<std::byte> flipped = bytes;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    if (const Result<DoorbellState> decoded = decode_doorbell_state(flipped)) {
      EXPECT_EQ(encode_doorbell_state(*decoded), flipped) << "bit " << bit;
    }
  }
}

struct BadState {
  const char* field;
  void (*spoil)(DoorbellState&);
};

TEST(DoorbellState, StatesThatNoDeviceCanBeInAreRefusedByField) {
  const BadState cases[] = {
      {"service vCPU", [](DoorbellState& state) { state.service_vcpu = 32; }},
      {"responded sequence", [](DoorbellState& state) { state.responded_seq = 9; }},
      {"responded sequence", [](DoorbellState& state) { state.responded_seq = 6; }},
      {"queue", [](DoorbellState& state) { state.responded_seq = 8; }},
      {"queue length", [](DoorbellState& state) { state.queue.resize(1025); }},
      {"request size",
       [](DoorbellState& state) { state.queue[1].resize(abi::kRequestBytesMax + 1); }},
  };
  for (const BadState& bad : cases) {
    DoorbellState state = busy_state();
    bad.spoil(state);
    const Result<DoorbellState> decoded = decode_doorbell_state(encode_doorbell_state(state));
    ASSERT_FALSE(decoded) << bad.field;
    EXPECT_EQ(decoded.error().code, Errc::kCorruption);
    EXPECT_THAT(decoded.error().message, HasSubstr(bad.field));
  }
}

}  // namespace
}  // namespace stasis::guests
