// A stock Debian kernel boots on the backend, to a shell and to a loop that answers requests.
#include <string>

#include <gmock/gmock.h>

#include "tests/hvf/linux_guest.h"

namespace stasis::hvf {
namespace {

using ::testing::HasSubstr;

class LinuxBootTest : public LinuxTest {
 protected:
  LinuxPorts ports_;
};

TEST_P(LinuxBootTest, ItComesUpWithAllItsCpusAndAnswers) {
  const auto machine = boot_linux(*backend_, ports_, files_, GetParam());
  wait_for(*machine, MachineEvent::Kind::kReady, ports_);
  ASSERT_FALSE(HasFailure());
  must(machine->resume());
  EXPECT_EQ(ask(*machine, ports_, "nproc"), std::to_string(GetParam()) + "\n");
  EXPECT_EQ(ask(*machine, ports_, "echo $((6 * 7)); echo wrong >&2"), "42\nwrong\n");
  EXPECT_THAT(ask(*machine, ports_, "cat /proc/interrupts"), HasSubstr("GICv3"));
  EXPECT_THAT(ports_.console(), HasSubstr("stasis: Linux"));
  EXPECT_THAT(ports_.console(), HasSubstr("# ")) << "the prompt of the console's shell";
  ports_.send(*machine, "poweroff -f");
  wait_for(*machine, MachineEvent::Kind::kExit, ports_);
}

INSTANTIATE_TEST_SUITE_P(Vcpus, LinuxBootTest, testing::Values(1U, 2U, 4U),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace stasis::hvf
