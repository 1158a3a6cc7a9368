#include "guests/arm64_linux/serial_device.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "guests/arm64_linux/console_peer.h"
#include "tests/guests/guest_fixture.h"

namespace stasis::guests::arm64 {
namespace {

constexpr std::uint32_t kLine = 7;
constexpr std::uint64_t kData = 0, kMask = 0x38;

class LineHost final : public DeviceHost {
 public:
  GuestMemory& memory() override { return fake_.memory(); }
  void wake(std::uint32_t vcpu) override { fake_.wake(vcpu); }
  [[nodiscard]] std::uint32_t vcpu_count() const override { return 1; }
  void set_interrupt_line(std::uint32_t line, LineLevel level) override {
    EXPECT_EQ(line, kLine);
    level_ = level;
  }
  [[nodiscard]] bool is_high() const { return level_ == LineLevel::kHigh; }

 private:
  test::FakeHost fake_;
  LineLevel level_ = LineLevel::kLow;
};

class SerialDeviceTest : public testing::Test {
 protected:
  SerialDevice make() {
    return {"console", kLine,
            std::make_shared<ConsolePeer>([this](std::string_view text) { printed_ += text; })};
  }
  void write(SerialDevice& device, std::uint64_t offset, std::uint64_t value) {
    must(device.write(offset, 4, value, 0, host_));
  }
  LineHost host_;
  std::string printed_;
};

TEST_F(SerialDeviceTest, ItsLineIsHighWhileSomethingWaits) {
  SerialDevice device = make();
  write(device, kMask, 0x10);
  EXPECT_FALSE(host_.is_high());
  must(device.send(host_, std::as_bytes(std::span("a", 1))));
  EXPECT_TRUE(host_.is_high());
  EXPECT_EQ(must(device.read(kData, 4, 0, host_)), 'a');
  EXPECT_FALSE(host_.is_high());
}

TEST_F(SerialDeviceTest, WhatTheGuestSendsIsPrinted) {
  SerialDevice device = make();
  for (const char c : std::string("hi\n")) {
    write(device, kData, static_cast<std::uint64_t>(c));
  }
  EXPECT_EQ(printed_, "hi\n");
}

TEST_F(SerialDeviceTest, ItsStateContinuesInAnother) {
  SerialDevice first = make();
  write(first, kMask, 0x10);
  must(first.send(host_, std::as_bytes(std::span("xy", 2))));
  const DeviceState state = must(first.save_state());
  SerialDevice second = make();
  must(second.load_state(state));
  EXPECT_EQ(must(second.save_state()), state);
  EXPECT_EQ(must(second.read(kData, 4, 0, host_)), 'x');
  EXPECT_TRUE(host_.is_high());
}

TEST_F(SerialDeviceTest, ForeignStatesAreRefused) {
  SerialDevice device = make();
  DeviceState state = must(device.save_state());
  DeviceState later = state;
  later.version = 2;
  EXPECT_EQ(device.load_state(later).error().code, Errc::kNotSupported);
  for (std::size_t size = 0; size < state.bytes.size(); ++size) {
    DeviceState cut = state;
    cut.bytes.resize(size);
    EXPECT_EQ(device.load_state(cut).error().code, Errc::kCorruption) << size;
  }
  state.bytes.push_back(std::byte{0});
  EXPECT_EQ(device.load_state(state).error().code, Errc::kCorruption) << "a console has no more";
}

}  // namespace
}  // namespace stasis::guests::arm64
