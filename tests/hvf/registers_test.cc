// Saving and loading a vCPU's registers, over a register file in memory.
#include "hvf/registers.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hvf/register_table.h"
#include "tests/hvf/fake_register_file.h"
#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

using testing::HasSubstr;

constexpr std::uint16_t kMidr = 0xc000;
constexpr std::uint16_t kSctlr = 0xc080;
constexpr std::uint16_t kSmcr = 0xc096;
constexpr std::uint16_t kCntvCtl = 0xdf19;
constexpr std::uint16_t kCntvCval = 0xdf1a;

// Every register different from every other and from zero.
FakeRegisterFile filled(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  FakeRegisterFile file;
  for (std::uint32_t i = 0; i <= 34; ++i) {
    file.core[static_cast<CoreRegister>(i)] = random();
  }
  for (std::uint32_t i = 0; i < 32; ++i) {
    file.vectors[i] = {random(), random()};
  }
  for (const SystemRegister& reg : system_registers()) {
    file.system[reg.encoding] = random();
  }
  file.system[0xc208] = random();  // SP_EL0.
  file.system[0xe208] = random();  // SP_EL1.
  for (const SystemRegister& reg : gic_registers()) {
    file.gic_registers[reg.encoding] = random();
  }
  for (const RedistributorRegister& reg : redistributor_registers()) {
    file.redistributor[reg.offset] = random();
  }
  file.redistributor[0x200] &= ~(std::uint64_t{1} << 27U);  // The timer's follows from the timer.
  file.timer = {random(), (random() & 1) != 0};
  file.pending = {(random() & 1) != 0, (random() & 1) != 0};
  return file;
}

void expect_same_registers(const FakeRegisterFile& left, const FakeRegisterFile& right) {
  EXPECT_EQ(left.core, right.core);
  EXPECT_EQ(left.vectors, right.vectors);
  EXPECT_EQ(left.system, right.system);
  EXPECT_EQ(left.gic_registers, right.gic_registers);
  EXPECT_EQ(left.redistributor, right.redistributor);
  EXPECT_EQ(left.timer, right.timer);
  EXPECT_EQ(left.pending, right.pending);
}

Error refusal(const Arm64VcpuState& state, FakeRegisterFile& file) {
  const auto result = load_registers(state, file);
  return result ? Error{Errc::kInvalidArgument, 0, "it was not refused"} : result.error();
}

TEST(RegistersTest, ARandomStateSurvivesInEveryRegister) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FakeRegisterFile from = filled(seed);
    const Arm64VcpuState state = must(save_registers(from));
    EXPECT_EQ(from.writes, 0U) << "saving writes nothing";
    FakeRegisterFile to;
    must(load_registers(state, to));
    expect_same_registers(to, from);
    EXPECT_EQ(must(save_registers(to)), state);
  }
}

TEST(RegistersTest, EveryFieldComesFromItsOwnRegister) {
  FakeRegisterFile file = filled(1);
  const Arm64VcpuState state = must(save_registers(file));
  for (std::uint32_t i = 0; i < 31; ++i) {
    EXPECT_EQ(state.x[i], file.core[x_register(i)]) << i;
  }
  EXPECT_EQ(state.pc, file.core[CoreRegister::kPc]);
  EXPECT_EQ(state.pstate, file.core[CoreRegister::kCpsr]);
  EXPECT_EQ(state.fpcr, file.core[CoreRegister::kFpcr]);
  EXPECT_EQ(state.fpsr, file.core[CoreRegister::kFpsr]);
  EXPECT_EQ(state.sp_el0, file.system[0xc208]);
  EXPECT_EQ(state.sp_el1, file.system[0xe208]);
  EXPECT_EQ(state.q[31], file.vectors[31]);
  EXPECT_EQ(state.system.size(), system_registers().size());
  EXPECT_EQ(state.gic_cpu_interface.size(), gic_registers().size());
  EXPECT_TRUE(std::ranges::is_sorted(state.gic_cpu_interface, {}, &Arm64SystemRegister::encoding));
  EXPECT_EQ(state.power, Arm64PowerState::kOn);
}

TEST(RegistersTest, IdentityIsLoadedFirstAndTimersLast) {
  FakeRegisterFile from = filled(2);
  FakeRegisterFile to;
  must(load_registers(must(save_registers(from)), to));
  const auto position = [&](std::uint16_t encoding) {
    return std::ranges::find(to.system_writes, encoding) - to.system_writes.begin();
  };
  for (const SystemRegister& identity : system_registers()) {
    if (is_identity(identity.role)) {
      EXPECT_LT(position(identity.encoding), position(kSctlr)) << identity.name;
    }
  }
  EXPECT_LT(position(kCntvCval), position(kCntvCtl));
  EXPECT_LT(position(0xdf12), position(0xdf11)) << "CNTP_CVAL_EL0 before CNTP_CTL_EL0";
  EXPECT_LT(position(0xc665), position(0xc230)) << "ICC_SRE_EL1 before ICC_PMR_EL1";
}

TEST(RegistersTest, AnIdentityThatIsThereAlreadyIsNotWritten) {
  FakeRegisterFile file = filled(3);
  const Arm64VcpuState state = must(save_registers(file));
  must(load_registers(state, file));
  EXPECT_THAT(file.system_writes, testing::Not(testing::Contains(kMidr)));
  EXPECT_THAT(file.system_writes, testing::Contains(kSctlr));
}

TEST(RegistersTest, AnotherCpuIsAMismatchThatNamesTheRegisterAndBothValues) {
  FakeRegisterFile from = filled(4);
  from.system[kMidr] = 0x610f0000;
  FakeRegisterFile to;
  to.system[kMidr] = 0x411fd080;
  to.stubborn = {kMidr};
  const Error error = refusal(must(save_registers(from)), to);
  EXPECT_EQ(error.code, Errc::kMismatch);
  EXPECT_EQ(error.message, "MIDR_EL1 is 0x411fd080 on this host, 0x610f0000 in the state");
}

TEST(RegistersTest, ARegisterThatThisMacOsHasNotIsLeftOutOfTheState) {
  FakeRegisterFile from = filled(5);
  from.absent = {kSmcr};
  const Arm64VcpuState state = must(save_registers(from));
  EXPECT_EQ(state.system.size(), system_registers().size() - 1);
  FakeRegisterFile to;
  to.absent = {kSmcr};
  must(load_registers(state, to));
  EXPECT_EQ(must(save_registers(to)), state);
}

TEST(RegistersTest, AStateWithARegisterThatThisHostHasNotIsAMismatch) {
  FakeRegisterFile from = filled(6);
  FakeRegisterFile to;
  to.absent = {kSmcr};
  const Error error = refusal(must(save_registers(from)), to);
  EXPECT_EQ(error.code, Errc::kMismatch);
  EXPECT_EQ(error.message, "this host has no SMCR_EL1");
}

TEST(RegistersTest, ARegisterThatEveryHostHasMayNotBeAbsent) {
  FakeRegisterFile file = filled(7);
  file.absent = {kSctlr};
  const auto saved = save_registers(file);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("SCTLR_EL1"));

  FakeRegisterFile whole = filled(7);
  Arm64VcpuState state = must(save_registers(whole));
  std::erase_if(state.system, [](const auto& reg) { return reg.encoding == kSctlr; });
  FakeRegisterFile to;
  EXPECT_EQ(refusal(state, to).message, "the state has no SCTLR_EL1");
  EXPECT_EQ(to.writes, 0U);
}

TEST(RegistersTest, AHostileListIsRefusedBeforeAnythingIsWritten) {
  FakeRegisterFile from = filled(8);
  const Arm64VcpuState good = must(save_registers(from));
  const auto refused = [](const Arm64VcpuState& state) {
    FakeRegisterFile to;
    const Error error = refusal(state, to);
    EXPECT_EQ(error.code, Errc::kMismatch) << error.message;
    EXPECT_EQ(to.writes, 0U) << error.message;
    return error.message;
  };
  Arm64VcpuState state = good;
  state.system.push_back({0xffff, 1});
  EXPECT_THAT(refused(state), HasSubstr("register 0xffff"));
  state = good;
  state.system.insert(state.system.begin(), state.system.front());
  EXPECT_THAT(refused(state), HasSubstr("DBGBVR0_EL1: the registers do not ascend"));
  state = good;
  std::swap(state.system[70], state.system[71]);
  EXPECT_THAT(refused(state), HasSubstr("do not ascend"));
  state = good;
  state.gic_cpu_interface.push_back({kSctlr, 1});
  EXPECT_THAT(refused(state), HasSubstr("register 0xc080"));
  state = good;
  state.gic_cpu_interface.pop_back();
  EXPECT_THAT(refused(state), HasSubstr("the state has no ICC_IGRPEN1_EL1"));
}

TEST(RegistersTest, WhatWasPendingBeforeALoadIsNotAfterIt) {
  FakeRegisterFile from = filled(11);
  FakeRegisterFile to;
  for (const std::uint16_t offset : std::array<std::uint16_t, 3>{0x100, 0x200, 0x300}) {
    to.redistributor[offset] = UINT32_MAX;
    from.redistributor[offset] = 0x30;
  }
  must(load_registers(must(save_registers(from)), to));
  for (const std::uint16_t offset : std::array<std::uint16_t, 3>{0x100, 0x200, 0x300}) {
    EXPECT_EQ(to.redistributor[offset], 0x30U) << offset;
  }
}

TEST(RegistersTest, ATimersInterruptThatFollowsItsLevelIsNotSavedAsPending) {
  constexpr std::uint64_t kTimer = std::uint64_t{1} << 27U;
  const auto saved_pending = [](std::uint64_t configuration) {
    FakeRegisterFile from = filled(12);
    from.redistributor[0x200] = kTimer | 5;
    from.redistributor[0xc04] = configuration;
    const Arm64VcpuState state = must(save_registers(from));
    return std::ranges::find(state.gic_redistributor, 0x200, &Arm64SystemRegister::encoding)->value;
  };
  EXPECT_EQ(saved_pending(0), 5U);
  EXPECT_EQ(saved_pending(std::uint64_t{2} << 22U), kTimer | 5) << "triggered by edges";
}

TEST(RegistersTest, ARedistributorIsThereWholeOrNotAtAll) {
  FakeRegisterFile from = filled(13);
  Arm64VcpuState state = must(save_registers(from));
  state.gic_redistributor.erase(state.gic_redistributor.begin());
  FakeRegisterFile to;
  EXPECT_THAT(refusal(state, to).message, HasSubstr("the state has no GICR_IGROUPR0"));
  state = must(save_registers(from));
  state.gic_redistributor.push_back({0xc08, 1});
  EXPECT_THAT(refusal(state, to).message, HasSubstr("not known"));
  EXPECT_EQ(to.writes, 0U);
}

TEST(RegistersTest, AStateWithAGicNeedsAVmWithOne) {
  FakeRegisterFile from = filled(9);
  FakeRegisterFile to;
  to.gic = false;
  EXPECT_THAT(refusal(must(save_registers(from)), to).message, HasSubstr("no GIC"));
  EXPECT_EQ(to.writes, 0U);
  from.gic = false;
  const Arm64VcpuState state = must(save_registers(from));
  EXPECT_TRUE(state.gic_cpu_interface.empty());
  must(load_registers(state, to));
}

TEST(RegistersTest, EmptyListsLeaveThatPartAsCreated) {
  FakeRegisterFile file = filled(10);
  const auto before = file.system;
  Arm64VcpuState state;
  state.sp_el0 = before.at(0xc208);
  state.sp_el1 = before.at(0xe208);
  must(load_registers(state, file));
  EXPECT_EQ(file.system, before);
  EXPECT_EQ(file.core[CoreRegister::kPc], 0U);
}

TEST(RegistersTest, EveryFailureNamesItsRegister) {
  FakeRegisterFile from = filled(11);
  const Arm64VcpuState state = must(save_registers(from));
  const auto expect_named = [&](auto break_it, const std::string& name) {
    FakeRegisterFile file;
    break_it(file);
    const auto saved = save_registers(file);
    ASSERT_FALSE(saved) << name;
    EXPECT_EQ(saved.error().code, Errc::kBackend);
    EXPECT_EQ(saved.error().os_error, 7);
    EXPECT_EQ(saved.error().message, name + ": refused");
    EXPECT_EQ(refusal(state, file).message, name + ": refused");
  };
  for (std::uint32_t i = 0; i < 31; ++i) {
    expect_named([i](auto& file) { file.broken_core = {x_register(i)}; }, "X" + std::to_string(i));
  }
  for (std::uint32_t i = 0; i < 32; ++i) {
    expect_named([i](auto& file) { file.broken_vectors = {i}; }, "Q" + std::to_string(i));
  }
  expect_named([](auto& file) { file.broken_core = {CoreRegister::kPc}; }, "PC");
  expect_named([](auto& file) { file.broken_core = {CoreRegister::kCpsr}; }, "CPSR");
  expect_named([](auto& file) { file.broken_core = {CoreRegister::kFpcr}; }, "FPCR");
  expect_named([](auto& file) { file.broken_core = {CoreRegister::kFpsr}; }, "FPSR");
  expect_named([](auto& file) { file.broken = {0xc208}; }, "SP_EL0");
  expect_named([](auto& file) { file.broken = {0xe208}; }, "SP_EL1");
  for (const auto table : {system_registers(), gic_registers()}) {
    for (const SystemRegister& reg : table) {
      expect_named([&](auto& file) { file.broken = {reg.encoding}; }, std::string(reg.name));
    }
  }
}

}  // namespace
}  // namespace stasis::hvf
