#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/device.h"
#include "tests/support/must.h"
#include "tests/support/scripted_device.h"

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<ScriptedDevice> device(std::string name) {
  auto made = std::make_shared<ScriptedDevice>();
  made->device_name = std::move(name);
  return made;
}

TEST(DeviceBus, FindsADeviceByTheWholeAccess) {
  DeviceBus bus;
  const auto serial = device("serial");
  must(bus.attach(IoSpace::kPort, 0x3f8, 8, serial));
  const auto target = bus.find({IoSpace::kPort, 0x3fc, 4});
  ASSERT_TRUE(target.has_value());
  EXPECT_EQ(target->device, serial.get());
  EXPECT_EQ(target->offset, 4U);
  EXPECT_FALSE(bus.find({IoSpace::kPort, 0x3fd, 4})) << "leaves the window";
  EXPECT_FALSE(bus.find({IoSpace::kPort, 0x3f7, 1}));
  EXPECT_FALSE(bus.find({IoSpace::kPort, 0x400, 1}));
  EXPECT_FALSE(bus.find({IoSpace::kMmio, 0x3f8, 1})) << "another space";
}

TEST(DeviceBus, RefusesOverlapsNamingBothDevices) {
  DeviceBus bus;
  must(bus.attach(IoSpace::kMmio, 0x1000, 0x100, device("first")));
  for (const std::uint64_t at : {0xf01U, 0x1000U, 0x10ffU}) {
    const Result<void> refused = bus.attach(IoSpace::kMmio, at, 0x100, device("second"));
    ASSERT_FALSE(refused) << at;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("'first'"));
    EXPECT_THAT(refused.error().message, HasSubstr("'second'"));
  }
  must(bus.attach(IoSpace::kMmio, 0xf00, 0x100, device("below")));
  must(bus.attach(IoSpace::kMmio, 0x1100, 0x100, device("above")));
  must(bus.attach(IoSpace::kPort, 0x1000, 0x100, device("port")));
}

TEST(DeviceBus, RefusesEmptyAndWrappingWindowsAndTakenNames) {
  DeviceBus bus;
  EXPECT_FALSE(bus.attach(IoSpace::kMmio, 0, 0, device("a")));
  EXPECT_FALSE(bus.attach(IoSpace::kMmio, UINT64_MAX, 2, device("a")));
  EXPECT_FALSE(bus.attach(IoSpace::kPort, 0xffff, 2, device("a"))) << "beyond the last port";
  EXPECT_FALSE(bus.attach(IoSpace::kPort, 0x10000, 1, device("a")));
  must(bus.attach(IoSpace::kMmio, UINT64_MAX, 1, device("a")));  // The last byte there is.
  EXPECT_TRUE(bus.find({IoSpace::kMmio, UINT64_MAX, 1}));
  EXPECT_FALSE(bus.find({IoSpace::kMmio, UINT64_MAX, 8}));
  EXPECT_FALSE(bus.attach(IoSpace::kMmio, 0, 1, device("a"))) << "the name is taken";
}

TEST(DeviceBus, ListsEachDeviceOnceInOrderOfAttachment) {
  DeviceBus bus;
  const auto first = device("first");
  const auto second = device("second");
  must(bus.attach(IoSpace::kMmio, 0x9000, 8, first));
  must(bus.attach(IoSpace::kMmio, 0x1000, 8, second));
  must(bus.attach(IoSpace::kPort, 0x10, 8, first));  // A second window of the same device.
  EXPECT_THAT(bus.devices(), ElementsAre(first.get(), second.get()));
}

}  // namespace
}  // namespace stasis
