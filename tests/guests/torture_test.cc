// torture on the host's hypervisor: that it passes, that it notices every kind of damage, and that
// a copy of a VM goes on exactly as the original.
#include <cpuid.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/x86_state.h"
#include "kvm/probe.h"
#include "tests/guests/running_guest.h"
#include "tests/support/must.h"

namespace stasis::guests {
namespace {

using test::RunningGuest;
using ::testing::HasSubstr;
using Kind = MachineEvent::Kind;

class TortureTest : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<HypervisorBackend>> backend = kvm::make_backend();
    if (!backend) {
      GTEST_SKIP() << "no KVM: " << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }
  RunningGuest start(std::uint32_t vcpus, const std::string& arguments) {
    RunningGuest guest = must(RunningGuest::start(
        *backend_, {.guest = "torture", .arguments = arguments, .memory_mib = 16, .vcpus = vcpus}));
    must(guest.run_until(Kind::kReady));
    return guest;
  }
  // Runs to the end, past all checkpoints.
  std::uint64_t finish(RunningGuest& guest) {
    for (;;) {
      const MachineEvent event = must(guest.next_event());
      if (event.kind == Kind::kExit) {
        return event.value;
      }
      if (event.kind != Kind::kCheckpoint) {
        ADD_FAILURE() << name_of(event.kind) << ": " << event.message << "\n" << guest.console();
        return UINT64_MAX;
      }
    }
  }
  std::unique_ptr<HypervisorBackend> backend_;
};

class TortureOnVcpus : public TortureTest {};
INSTANTIATE_TEST_SUITE_P(Vcpus, TortureOnVcpus, ::testing::Values(1U, 2U, 4U));

TEST_P(TortureOnVcpus, PassesWithTheSameOutputEveryTime) {
  RunningGuest first = start(GetParam(), "checkpoints=3 memory=2");
  RunningGuest second = start(GetParam(), "checkpoints=3 memory=2");
  EXPECT_EQ(finish(first), 0);
  EXPECT_EQ(finish(second), 0);
  EXPECT_THAT(first.console(), HasSubstr("round 3 of 3 passed"));
  EXPECT_THAT(first.console(), HasSubstr("torture: passed"));
  EXPECT_EQ(first.console(), second.console());
}

TEST_P(TortureOnVcpus, CopiesTakenAtEveryCheckpointGoOnAsTheOriginal) {
  RunningGuest original = start(GetParam(), "checkpoints=4 memory=1");
  std::vector<RunningGuest> copies;
  std::vector<std::size_t> printed;
  copies.push_back(must(original.clone()));
  printed.push_back(original.console().size());
  for (int i = 0; i < 4; ++i) {
    must(original.run_until(Kind::kCheckpoint));
    printed.push_back(original.console().size());
    copies.push_back(must(original.clone()));
  }
  EXPECT_EQ(finish(original), 0);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    EXPECT_EQ(finish(copies[i]), 0) << i;
    EXPECT_EQ(copies[i].console(), original.console().substr(printed[i])) << i;
  }
}

TEST_P(TortureOnVcpus, CopiesTakenAtAnyMomentGoOn) {
  RunningGuest guest = start(GetParam(), "checkpoints=3 memory=1");
  int copies = 0;
  for (; copies < 12; ++copies) {
    // Wherever the vCPUs are: in the middle of work, parked, or held at a checkpoint.
    must(guest.machine().resume());
    const Result<MachineEvent> event = guest.machine().wait_event(std::chrono::milliseconds(1));
    if (event && event->kind == Kind::kExit) {
      break;
    }
    ASSERT_TRUE(!event || event->kind == Kind::kCheckpoint) << event->message;
    guest = must(guest.clone());
  }
  EXPECT_GT(copies, 2);
  EXPECT_EQ(finish(guest), 0) << guest.console();
}

struct Damage {
  const char* name;
  void (*apply)(X86VcpuState&);
  const char* message;
};

class TortureNoticesTest : public TortureTest {
 public:
  // Of the XSAVE area, Intel SDM vol. 1, 13.4: the legacy region.
  static constexpr std::size_t kMxcsr = 24, kSt0 = 32, kXmm0 = 160;
  static void flip(X86VcpuState& state, std::size_t offset) {
    ASSERT_GT(state.xsave.size(), offset);
    state.xsave[offset] ^= std::byte{0x20};
  }
};

TEST_F(TortureNoticesTest, EveryRegisterThatARestoreGetsWrong) {
  const Damage damages[] = {
      {"rbx", [](X86VcpuState& s) { s.general.rbx ^= 1; }, "rbx was"},
      {"r15", [](X86VcpuState& s) { s.general.r15 ^= std::uint64_t{1} << 63; }, "r15 was"},
      {"rbp", [](X86VcpuState& s) { s.general.rbp = 0; }, "rbp was"},
      {"carry", [](X86VcpuState& s) { s.general.rflags ^= 1; }, "rflags was"},
      {"xmm0", [](X86VcpuState& s) { flip(s, kXmm0); }, "vector register 0 was"},
      {"xmm15", [](X86VcpuState& s) { flip(s, kXmm0 + 15 * 16 + 15); }, "vector register 15 was"},
      {"st0", [](X86VcpuState& s) { flip(s, kSt0 + 4); }, "st0 was"},
      {"mxcsr", [](X86VcpuState& s) { flip(s, kMxcsr + 1); }, "mxcsr was"},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.name);
    RunningGuest guest = start(1, "checkpoints=1 memory=1");
    must(guest.run_until(Kind::kCheckpoint));
    MachineState state = must(guest.pause_and_save());
    damage.apply(std::get<X86VcpuState>(state.vcpus[0]));
    RunningGuest copy = must(guest.start_copy(state));
    EXPECT_EQ(must(copy.run_until(Kind::kExit)).value, 1);
    EXPECT_THAT(copy.console(), HasSubstr("FAILED"));
    EXPECT_THAT(copy.console(), HasSubstr(damage.message));
  }
}

// Components beyond SSE, where the processor says they lie: Intel SDM vol. 1, 13.5.
TEST_F(TortureNoticesTest, EveryExtendedRegisterThatARestoreGetsWrong) {
  const std::vector<std::string>& features = backend_->capabilities().cpu_features;
  const auto has = [&features](const char* name) {
    return std::find(features.begin(), features.end(), name) != features.end();
  };
  struct Component {
    const char* feature;
    std::uint32_t number;
    std::size_t byte;
    const char* message;
  };
  const Component components[] = {{"avx", 2, 3 * 16, "vector register 3 was"},         // YMM_Hi128
                                  {"avx512f", 5, 7 * 8, "k7 was"},                     // Opmask
                                  {"avx512f", 6, 9 * 32, "vector register 9 was"},     // ZMM_Hi256
                                  {"avx512f", 7, 15 * 64, "vector register 31 was"}};  // Hi16_ZMM
  for (const Component& component : components) {
    SCOPED_TRACE(component.message);
    if (!has(component.feature)) {
      continue;
    }
    std::uint32_t size = 0, offset = 0, unused = 0;
    ASSERT_EQ(__get_cpuid_count(0xD, component.number, &size, &offset, &unused, &unused), 1);
    ASSERT_GT(size, component.byte);
    RunningGuest guest = start(1, "checkpoints=1 memory=1");
    must(guest.run_until(Kind::kCheckpoint));
    MachineState state = must(guest.pause_and_save());
    flip(std::get<X86VcpuState>(state.vcpus[0]), offset + component.byte);
    RunningGuest copy = must(guest.start_copy(state));
    EXPECT_EQ(must(copy.run_until(Kind::kExit)).value, 1);
    EXPECT_THAT(copy.console(), HasSubstr(component.message));
  }
}

TEST_F(TortureNoticesTest, OneChangedWordOfMemory) {
  RunningGuest guest = start(2, "checkpoints=2 memory=2");
  must(guest.run_until(Kind::kCheckpoint));
  must(guest.machine().pause(test::kPatience));
  const Gpa somewhere{abi::kImageAddress + 2 * abi::kMiB};
  const auto word = must(guest.machine().memory().read_object<std::uint64_t>(somewhere));
  must(guest.machine().memory().write_object(somewhere, word ^ 1));
  EXPECT_EQ(must(guest.run_until(Kind::kExit)).value, 1);
  EXPECT_THAT(guest.console(), HasSubstr("memory at 0000000000600000 holds"));
}

TEST_F(TortureNoticesTest, OneChangedWordOfAStack) {
  RunningGuest guest = start(1, "checkpoints=1 memory=1");
  must(guest.run_until(Kind::kCheckpoint));
  must(guest.machine().pause(test::kPatience));
  // A third of the way into the recursion's frames, of which each is mostly an array.
  GuestMemory& memory = guest.machine().memory();
  const Gpa somewhere{abi::stack_top(0) - 8192};
  int spoiled = 0;
  for (std::uint64_t offset = 0; offset < 2048; offset += 8, ++spoiled) {
    const auto word = must(memory.read_object<std::uint64_t>(somewhere + offset));
    // Return addresses and saved registers are small numbers; patterns are not.
    if (word >> 40 != 0) {
      must(memory.write_object(somewhere + offset, word ^ 1));
      break;
    }
  }
  ASSERT_LT(spoiled, 256);
  EXPECT_EQ(must(guest.run_until(Kind::kExit)).value, 1);
  EXPECT_THAT(guest.console(), HasSubstr("the stack frame at depth"));
}

}  // namespace
}  // namespace stasis::guests
