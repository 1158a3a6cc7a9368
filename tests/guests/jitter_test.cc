// The guest jitter on the host's hypervisor: what it sees of a pause that the host knows the length
// of.
#include <chrono>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/guests/guest_programs.h"
#include "tests/support/must.h"

namespace stasis::guests {
namespace {

using test::GuestOptions;
using test::RunningGuest;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = MachineEvent::Kind;

class JitterTest : public GuestProgramsTest {};

TEST_F(JitterTest, SeesForHowLongItStoodStill) {
  RunningGuest guest =
      start_ready({.guest = "jitter", .arguments = "fill=8", .memory_mib = 64, .vcpus = 3});
  EXPECT_EQ(must(guest.ask("measure write=4 pace=1000")), "ok");
  must(guest.machine().pause(test::kPatience));
  const auto stopped = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - stopped < std::chrono::milliseconds(3)) {
  }
  must(guest.machine().resume());
  const std::string report = must(guest.ask("report"));
  EXPECT_THAT(report, AllOf(StartsWith("ok vcpus=2 "), HasSubstr(" gaps="), HasSubstr(" writes=")));
  // At least that; both clocks are the host's counter, but for how its rate is rounded.
  EXPECT_GE(std::stoull(field(report, "longest_gap_ns")), 2'990'000U);
  EXPECT_GT(std::stoull(field(report, "readings")), 1000U);
  // What began anew has not seen it.
  EXPECT_EQ(must(guest.ask("measure")), "ok");
  EXPECT_EQ(field(must(guest.ask("report")), "writes"), "0");
}

TEST_F(JitterTest, DirtiesWhatItIsToldAndRefusesTheRest) {
  RunningGuest guest =
      start_ready({.guest = "jitter", .arguments = "fill=8", .memory_mib = 64, .vcpus = 2});
  EXPECT_EQ(must(guest.ask("dirty 8 seed=3")), "ok pages=2048");
  EXPECT_THAT(must(guest.ask("dirty 10")), StartsWith("error there is not so much memory"));
  EXPECT_THAT(must(guest.ask("measure write=10")), StartsWith("error there is not so much memory"));
  EXPECT_THAT(must(guest.ask("measure write=x")), StartsWith("error"));
  EXPECT_THAT(must(guest.ask("dirty")), StartsWith("error"));
  EXPECT_THAT(must(guest.ask("what")), StartsWith("error"));
}

TEST_F(JitterTest, NeedsAVcpuToWatch) {
  RunningGuest guest = start({.guest = "jitter", .memory_mib = 64});
  const MachineEvent event = must(guest.run_until(Kind::kGuestFailed));
  EXPECT_THAT(event.message, HasSubstr("it needs two vCPUs"));
}

}  // namespace
}  // namespace stasis::guests
