// What the host learns from guests that go wrong.
#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "tests/guests/running_guest.h"
#include "tests/support/must.h"

namespace stasis::guests {
namespace {

using test::RunningGuest;
using ::testing::HasSubstr;
using Kind = MachineEvent::Kind;

struct Fault {
  const char* argument;
  const char* message;
};
void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.argument;
}

class GuestFailureTest : public ::testing::TestWithParam<Fault> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<HypervisorBackend>> backend = kvm::make_backend();
    if (!backend) {
      GTEST_SKIP() << "no KVM: " << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }
  RunningGuest start(const std::string& what, std::uint32_t vcpus = 1) {
    return must(RunningGuest::start(
        *backend_,
        {.guest = TEST_GUESTS "test_faulty", .arguments = what, .memory_mib = 8, .vcpus = vcpus}));
  }
  std::unique_ptr<HypervisorBackend> backend_;
};

TEST_P(GuestFailureTest, IsReportedWithItsReason) {
  RunningGuest guest = start(GetParam().argument);
  const MachineEvent event = must(guest.run_until(Kind::kGuestFailed));
  EXPECT_THAT(event.message, HasSubstr(GetParam().message));
  EXPECT_EQ(event.vcpu, 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, GuestFailureTest,
    ::testing::Values(Fault{"divide", "divide error (#DE, vector 0) on vCPU 0 at rip 0x4"},
                      Fault{"null", "page fault (#PF, vector 14) on vCPU 0 at rip 0x4"},
                      Fault{"boot-info", "write to 0x1000 (not permitted)"},
                      Fault{"page-tables", "write to 0x100000 (not permitted)"},
                      Fault{"beyond-ram", "write to 0x800000 (not mapped)"},
                      Fault{"stack-overflow", "write to 0x1ffffc (not permitted)"},
                      Fault{"invalid-opcode", "invalid opcode (#UD, vector 6)"},
                      Fault{"breakpoint", "breakpoint (#BP, vector 3)"},
                      Fault{"halt", "general protection fault (#GP, vector 13)"},
                      Fault{"port", "general protection fault (#GP, vector 13)"},
                      Fault{"next-port", "general protection fault (#GP, vector 13)"},
                      Fault{"simd", "SIMD floating-point exception (#XM, vector 19)"},
                      Fault{"panic", "guest panic: the answer is 42"},
                      Fault{"memory", "out of memory: 1099511627776 bytes wanted"},
                      Fault{"register", "register 15 cannot be written"},
                      Fault{"console",
                            "console output of 100000 bytes is larger than the mailbox's 4096"},
                      Fault{"respond", "no request is being answered"},
                      Fault{"nothing", "nothing went wrong"}),
    [](const ::testing::TestParamInfo<Fault>& param) {
      std::string name = param.param.argument;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST_F(GuestFailureTest, AtANullPointerSaysSo) {
  RunningGuest guest = start("null");
  EXPECT_THAT(must(guest.run_until(Kind::kGuestFailed)).message,
              HasSubstr("write to 0x8 (not mapped), page 0 catches null pointers"));
}

TEST_F(GuestFailureTest, OnAnotherVcpuNamesThatVcpu) {
  RunningGuest guest = start("divide", 3);
  const MachineEvent event = must(guest.run_until(Kind::kGuestFailed));
  EXPECT_THAT(event.message, HasSubstr("divide error (#DE, vector 0) on vCPU 2"));
  EXPECT_EQ(event.vcpu, 2);
}

TEST_F(GuestFailureTest, ExitCodeIsPassedOn) {
  RunningGuest guest = start("exit");
  EXPECT_EQ(must(guest.run_until(Kind::kExit)).value, 77);
}

TEST_F(GuestFailureTest, DoorbellsAnswerOverMmioToo) {
  RunningGuest guest = start("doorbells");
  EXPECT_EQ(must(guest.run_until(Kind::kCheckpoint)).value, 5);
  EXPECT_EQ(guest.console(), "Y");
  EXPECT_EQ(must(guest.run_until(Kind::kExit)).value, 6);
}

TEST_F(GuestFailureTest, LoopingGuestCanBePausedAndDestroyed) {
  RunningGuest guest = start("loop");
  must(guest.run_until(Kind::kReady));
  must(guest.machine().resume());
  must(guest.machine().pause(test::kPatience));
  must(guest.machine().resume());
}

}  // namespace
}  // namespace stasis::guests
