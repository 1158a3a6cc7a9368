// A Machine whose memory and state do not belong together: what it refuses, and until when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/machine.h"
#include "mock/assembler.h"
#include "mock/mock_backend.h"
#include "tests/support/must.h"

namespace stasis {
namespace {

using mock::Assembler;
using testing::HasSubstr;
using enum mock::Register;

constexpr std::uint64_t kPage = 4096;

std::unique_ptr<Machine> make_counting(HypervisorBackend& backend) {
  Assembler code(Gpa{0});
  const Assembler::Label loop = code.here();
  code.add_imm(R4, R4, 1).jump(loop);
  const RegionSpec spec{.range = {Gpa{0}, 16 * kPage}};
  auto memory = must(GuestMemory::create({&spec, 1}, kPage));
  must(code.write_to(*memory));
  MachineConfig config;
  config.initial_state = MachineState{.vcpus = {ToyVcpuState{}},
                                      .activities = {VcpuActivity::kRunning},
                                      .wake_pending = {false},
                                      .devices = {}};
  return must(Machine::create(backend, std::move(memory), std::make_unique<DeviceBus>(), config));
}

TEST(CondemnedMachine, DoesNothingMoreUntilItIsPardoned) {
  const auto backend = must(mock::make_mock_backend({}));
  const auto machine = make_counting(*backend);
  must(machine->step(10));
  const MachineState state = must(machine->save_state());
  machine->condemn({Errc::kCorruption, 0, "its memory is another's"});
  for (int i = 0; i < 2; ++i) {
    for (const Error& refused :
         {machine->resume().error(), machine->step(1).error(), machine->save_state().error()}) {
      EXPECT_EQ(refused.code, Errc::kCorruption);
      EXPECT_THAT(refused.message, HasSubstr("its memory is another's"));
    }
    EXPECT_TRUE(machine->is_paused());
    must(machine->load_state(state));  // Its memory is still another's.
  }
  machine->pardon();
  EXPECT_EQ(must(machine->save_state()), state);
  must(machine->step(1));
}

}  // namespace
}  // namespace stasis
