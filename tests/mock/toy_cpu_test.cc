// Every instruction of the toy CPU, one at a time.
#include "mock/toy_cpu.h"

#include <array>
#include <functional>
#include <string>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mock/assembler.h"
#include "tests/support/must.h"

namespace stasis::mock {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kDevice = std::uint64_t{1} << 40;

class ToyCpuTest : public testing::Test {
 protected:
  // Executes `code` from address 0 for as many steps; returns the exit of the last one.
  std::optional<VcpuExit> execute(const Assembler& code, int steps) {
    must(code.write_to(*memory_));
    std::optional<VcpuExit> exit;
    for (int i = 0; i < steps; ++i) {
      exit = cpu_.step(ram_);
    }
    return exit;
  }
  ToyVcpuState state() const { return cpu_.state(); }
  void set_register(Register number, std::uint64_t value) {
    ToyVcpuState changed = cpu_.state();
    changed.r.at(number) = value;
    cpu_.set_state(changed);
  }
  void protect(std::uint64_t page, Access access) {
    ram_.set_access({Gpa{page * kPage}, kPage}, access);
  }
  std::uint64_t peek(std::uint64_t gpa) {
    return must(memory_->read_object<std::uint64_t>(Gpa{gpa}));
  }
  void poke(std::uint64_t gpa, std::uint64_t value) {
    must(memory_->write_object(Gpa{gpa}, value));
  }

  std::unique_ptr<GuestMemory> memory_ = [] {
    const std::array<RegionSpec, 2> specs = {
        {{.range = {Gpa{0}, 8 * kPage}}, {.range = {Gpa{8 * kPage}, 8 * kPage}}}};
    return must(GuestMemory::create(specs, kPage));
  }();
  ToyMemory ram_{*memory_, Access::kReadWriteExecute};
  ToyCpu cpu_;
};

// One ALU instruction: r1 = r2 op r3.
struct AluCase {
  const char* name;
  Opcode opcode;
  std::uint64_t b, c, expected;
};
class ToyAlu : public ToyCpuTest, public testing::WithParamInterface<AluCase> {};
void PrintTo(const AluCase& alu, std::ostream* out) {
  *out << alu.name;
}
INSTANTIATE_TEST_SUITE_P(
    Case, ToyAlu,
    testing::Values(AluCase{"Add", Opcode::kAdd, UINT64_MAX, 2, 1},
                    AluCase{"Sub", Opcode::kSub, 1, 2, UINT64_MAX},
                    AluCase{"Mul", Opcode::kMul, std::uint64_t{1} << 63, 3, std::uint64_t{1} << 63},
                    AluCase{"Div", Opcode::kDivUnsigned, UINT64_MAX, 10, UINT64_MAX / 10},
                    AluCase{"DivByZero", Opcode::kDivUnsigned, 5, 0, UINT64_MAX},
                    AluCase{"Rem", Opcode::kRemUnsigned, UINT64_MAX, 10, 5},
                    AluCase{"RemByZero", Opcode::kRemUnsigned, 5, 0, 5},
                    AluCase{"And", Opcode::kAnd, 0xff0, 0x0ff, 0x0f0},
                    AluCase{"Or", Opcode::kOr, 0xf00, 0x00f, 0xf0f},
                    AluCase{"Xor", Opcode::kXor, 0xff0, 0x0ff, 0xf0f},
                    AluCase{"ShiftLeft", Opcode::kShiftLeft, 3, 63, std::uint64_t{1} << 63},
                    AluCase{"ShiftLeftModulo64", Opcode::kShiftLeft, 3, 65, 6},
                    AluCase{"ShiftRight", Opcode::kShiftRight, std::uint64_t{1} << 63, 63, 1},
                    AluCase{"Move", Opcode::kMove, 77, 0, 77}),
    [](const testing::TestParamInfo<AluCase>& alu) { return alu.param.name; });

TEST_P(ToyAlu, ComputesAndRetires) {
  set_register(R2, GetParam().b);
  set_register(R3, GetParam().c);
  EXPECT_EQ(execute(Assembler(Gpa{0}).alu(GetParam().opcode, R1, R2, R3), 1), std::nullopt);
  ToyVcpuState expected;
  expected.r[1] = GetParam().expected;
  expected.r[2] = GetParam().b;
  expected.r[3] = GetParam().c;
  expected.pc = 8;
  expected.instructions = 1;
  EXPECT_EQ(state(), expected);
}

TEST_F(ToyCpuTest, ImmediatesOfEverySizeAreLoaded) {
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{0x7fffffff}, std::uint64_t{0x80000000}, UINT64_MAX,
        std::uint64_t{0x123456789abcdef0}, std::uint64_t{0xffffffff80000000}}) {
    cpu_.set_state({});
    Assembler code(Gpa{0});
    code.load_imm(R7, value);
    execute(code, static_cast<int>(code.bytes().size() / kInstructionBytes));
    EXPECT_EQ(state().r[7], value);
  }
}

TEST_F(ToyCpuTest, AddImmediateTakesNegativeNumbers) {
  set_register(R2, 5);
  execute(Assembler(Gpa{0}).add_imm(R1, R2, -7), 1);
  EXPECT_EQ(state().r[1], UINT64_MAX - 1);
}

TEST_F(ToyCpuTest, LoadsAndStoresOfEveryWidthAndAlignment) {
  for (std::uint8_t width = 1; width <= 8; ++width) {
    for (std::uint64_t at = 2 * kPage - 9; at <= 2 * kPage + 1; ++at) {
      cpu_.set_state({});
      poke(2 * kPage - 12, UINT64_MAX);
      poke(2 * kPage - 4, UINT64_MAX);
      poke(2 * kPage + 4, UINT64_MAX);
      set_register(R1, 0x8877665544332211);
      set_register(R2, at + 100);
      execute(Assembler(Gpa{0}).store(R1, R2, -100, width).load(R3, R2, -100, width), 2);
      const std::uint64_t mask = width == 8 ? UINT64_MAX : (std::uint64_t{1} << (8 * width)) - 1;
      ASSERT_EQ(state().r[3], 0x8877665544332211U & mask) << "width " << int{width} << " at " << at;
      ASSERT_EQ(peek(at), (0x8877665544332211U & mask) | ~mask) << "wrote beyond its width";
      ASSERT_EQ(must(memory_->read_object<std::uint8_t>(Gpa{at - 1})), 0xff);
    }
  }
}

TEST_F(ToyCpuTest, AccessesCrossAdjacentRegions) {
  set_register(R1, 0x1122334455667788);
  set_register(R2, 8 * kPage - 3);
  execute(Assembler(Gpa{0}).store(R1, R2, 0, 8).load(R3, R2, 0, 8), 2);
  EXPECT_EQ(state().r[3], 0x1122334455667788U);
}

TEST_F(ToyCpuTest, JumpsAndBranchesGoWhereTheySay) {
  Assembler code(Gpa{0});
  const Assembler::Label forward = code.label();
  const Assembler::Label back = code.here();
  code.jump(forward).halt();
  code.bind(forward);
  code.jump_and_link(R5, back);
  EXPECT_EQ(execute(code, 1), std::nullopt);
  EXPECT_EQ(state().pc, 16U);
  execute(code, 1);
  EXPECT_EQ(state().pc, 0U);
  EXPECT_EQ(state().r[5], 24U);

  cpu_.set_state({});
  set_register(R9, 2 * kPage);
  execute(Assembler(Gpa{0}).jump_register(R9), 1);
  EXPECT_EQ(state().pc, 2 * kPage);
}

TEST_F(ToyCpuTest, BranchesCompareUnsigned) {
  struct Case {
    Opcode opcode;
    std::uint64_t a, b;
    bool taken;
  };
  for (const Case& one :
       {Case{Opcode::kBranchEqual, 5, 5, true}, Case{Opcode::kBranchEqual, 5, 6, false},
        Case{Opcode::kBranchNotEqual, 5, 6, true}, Case{Opcode::kBranchNotEqual, 5, 5, false},
        Case{Opcode::kBranchLess, 5, UINT64_MAX, true},
        Case{Opcode::kBranchLess, UINT64_MAX, 5, false}, Case{Opcode::kBranchLess, 5, 5, false}}) {
    cpu_.set_state({});
    set_register(R1, one.a);
    set_register(R2, one.b);
    execute(Assembler(Gpa{0}).append({one.opcode, R1, R2, 0, 800}), 1);
    EXPECT_EQ(state().pc, one.taken ? 800U : 8U);
  }
}

TEST_F(ToyCpuTest, AtomicsReturnTheOldValue) {
  poke(kPage, 10);
  set_register(R1, kPage);
  set_register(R2, 5);
  execute(Assembler(Gpa{0}).fetch_add(R3, R1, R2), 1);
  EXPECT_EQ(state().r[3], 10U);
  EXPECT_EQ(peek(kPage), 15U);

  cpu_.set_state({});
  set_register(R1, kPage);
  set_register(R2, 99);
  set_register(R3, 15);
  execute(Assembler(Gpa{0}).compare_exchange(R3, R1, R2).compare_exchange(R4, R1, R2), 1);
  EXPECT_EQ(state().r[3], 15U);
  EXPECT_EQ(peek(kPage), 99U);
  cpu_.step(ram_);  // r4 is 0: does not match.
  EXPECT_EQ(state().r[4], 99U);
  EXPECT_EQ(peek(kPage), 99U);
}

TEST_F(ToyCpuTest, TheClockCountsRetiredInstructions) {
  execute(Assembler(Gpa{0}).move(R1, R1).move(R1, R1).count(R5).count(R6), 4);
  EXPECT_EQ(state().r[5], 2U);
  EXPECT_EQ(state().r[6], 3U);
}

TEST_F(ToyCpuTest, HaltRetiresOnceAndStays) {
  for (int steps = 1; steps <= 3; ++steps) {
    cpu_.set_state({});
    const auto exit = execute(Assembler(Gpa{0}).halt(), steps);
    ASSERT_TRUE(exit.has_value());
    EXPECT_TRUE(std::holds_alternative<ExitHalted>(*exit));
    EXPECT_TRUE(state().halted);
    EXPECT_EQ(state().instructions, 1U);
    EXPECT_EQ(state().pc, 8U);
  }
}

TEST_F(ToyCpuTest, ADeviceWriteRetiresAndShowsItsLowBytes) {
  set_register(R1, 0x1122334455667788);
  set_register(R2, kDevice);
  const auto exit = execute(Assembler(Gpa{0}).store(R1, R2, 6, 2), 1);
  ASSERT_TRUE(exit.has_value());
  const auto& write = std::get<ExitIoWrite>(*exit);
  EXPECT_EQ(write.access, (IoAccess{IoSpace::kMmio, kDevice + 6, 2}));
  EXPECT_EQ(write.data, 0x7788U);
  EXPECT_EQ(state().instructions, 1U);
}

TEST_F(ToyCpuTest, ADeviceReadRetiresWhenItIsAnswered) {
  set_register(R2, kDevice);
  const auto exit = execute(Assembler(Gpa{0}).load(R1, R2, 0, 4), 1);
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(std::get<ExitIoRead>(*exit).access, (IoAccess{IoSpace::kMmio, kDevice, 4}));
  EXPECT_EQ(state().instructions, 0U);
  cpu_.complete_read(0x1122334455667788);
  EXPECT_EQ(state().r[1], 0x55667788U);
  EXPECT_EQ(state().instructions, 1U);
  EXPECT_EQ(state().pc, 8U);
}

// What must leave the whole state and all of memory as it was.
struct RefusalCase {
  const char* name;
  const char* reason;  // Part of it.
  std::function<Assembler()> code;
};
class ToyRefusal : public ToyCpuTest, public testing::WithParamInterface<RefusalCase> {};
void PrintTo(const RefusalCase& refusal, std::ostream* out) {
  *out << refusal.name;
}
Assembler one(Opcode opcode, std::uint8_t a, std::uint8_t b, std::uint8_t c,
              std::int32_t immediate = 0) {
  return Assembler(Gpa{0}).append({opcode, a, b, c, immediate});
}
INSTANTIATE_TEST_SUITE_P(
    Case, ToyRefusal,
    testing::Values(
        RefusalCase{"ZeroInstruction", "illegal", [] { return one(Opcode::kIllegal, 0, 0, 0); }},
        RefusalCase{"UnknownOpcode", "illegal", [] { return one(Opcode{200}, 0, 0, 0); }},
        RefusalCase{"FirstUnusedOpcode", "illegal", [] { return one(Opcode{27}, 0, 0, 0); }},
        RefusalCase{"RegisterA16", "illegal", [] { return one(Opcode::kMove, 16, 0, 0); }},
        RefusalCase{"RegisterB16", "illegal", [] { return one(Opcode::kMove, 0, 16, 0); }},
        RefusalCase{"RegisterC255", "illegal", [] { return one(Opcode::kAdd, 0, 0, 255); }},
        RefusalCase{"WidthZero", "illegal", [] { return one(Opcode::kLoad, 1, 2, 0); }},
        RefusalCase{"WidthNine", "illegal", [] { return one(Opcode::kStore, 1, 2, 9); }},
        RefusalCase{"DeviceWidthThree", "outside RAM",
                    [] { return one(Opcode::kLoad, 1, R10, 3); }},
        RefusalCase{"AtomicOnDevice", "outside RAM",
                    [] { return one(Opcode::kFetchAdd, 1, R10, 3); }},
        RefusalCase{"AtomicUnaligned", "multiple of 8",
                    [] { return one(Opcode::kCompareExchange, 1, R11, 3); }},
        RefusalCase{"CrossesTheEndOfRam", "crosses the end",
                    [] { return one(Opcode::kStore, 1, R12, 8, -4); }},
        RefusalCase{"CrossesTheEndOfAddresses", "crosses the end",
                    [] { return one(Opcode::kLoad, 1, R13, 8); }}),
    [](const testing::TestParamInfo<RefusalCase>& refusal) { return refusal.param.name; });

TEST_P(ToyRefusal, FailsWithAReasonAndChangesNothing) {
  set_register(R10, kDevice);
  set_register(R11, kPage + 4);
  set_register(R12, 16 * kPage);
  set_register(R13, UINT64_MAX - 3);
  const ToyVcpuState before = state();
  for (int again = 0; again < 2; ++again) {
    const auto exit = execute(GetParam().code(), 1);
    ASSERT_TRUE(exit.has_value());
    ASSERT_TRUE(std::holds_alternative<ExitFailed>(*exit));
    EXPECT_THAT(std::get<ExitFailed>(*exit).reason, HasSubstr(GetParam().reason));
    EXPECT_THAT(std::get<ExitFailed>(*exit).reason, HasSubstr("at pc 0x0"));
    EXPECT_EQ(state(), before);
  }
}

TEST_F(ToyCpuTest, TheInstructionAddressIsCheckedLikeAnyOther) {
  for (const std::uint64_t pc : {std::uint64_t{4}, 16 * kPage, kDevice, UINT64_MAX - 7}) {
    ToyVcpuState start;
    start.pc = pc;
    cpu_.set_state(start);
    const auto exit = cpu_.step(ram_);
    ASSERT_TRUE(exit.has_value());
    EXPECT_TRUE(std::holds_alternative<ExitFailed>(*exit)) << pc;
    EXPECT_EQ(state(), start);
  }
}

TEST_F(ToyCpuTest, FetchesNeedExecutePermissionAndAPresentPage) {
  Assembler code(Gpa{0});
  code.move(R1, R1);
  must(code.write_to(*memory_));
  protect(0, Access::kReadWrite);
  EXPECT_TRUE(std::holds_alternative<ExitFailed>(*cpu_.step(ram_)));
  protect(0, Access::kNone);
  const auto missing = cpu_.step(ram_);
  EXPECT_EQ(std::get<ExitMissingPage>(*missing).gpa, Gpa{0});
  protect(0, Access::kReadExecute);
  EXPECT_EQ(cpu_.step(ram_), std::nullopt);
}

TEST_F(ToyCpuTest, ACrossingStoreFaultsPageByPageAndWritesNothingBefore) {
  const std::uint64_t at = 3 * kPage - 3;
  set_register(R1, UINT64_MAX);
  set_register(R2, at);
  must(Assembler(Gpa{0}).store(R1, R2, 0, 8).write_to(*memory_));
  protect(2, Access::kReadExecute);
  protect(3, Access::kNone);
  const ToyVcpuState before = state();

  auto exit = cpu_.step(ram_);
  EXPECT_EQ(std::get<ExitWriteProtected>(*exit).gpa, Gpa{at});
  protect(2, Access::kReadWriteExecute);
  exit = cpu_.step(ram_);
  EXPECT_EQ(std::get<ExitMissingPage>(*exit).gpa, Gpa{3 * kPage});
  EXPECT_TRUE(std::get<ExitMissingPage>(*exit).is_write);
  EXPECT_EQ(peek(at), 0U);
  EXPECT_EQ(state(), before);
  protect(3, Access::kReadExecute);
  exit = cpu_.step(ram_);
  EXPECT_EQ(std::get<ExitWriteProtected>(*exit).gpa, Gpa{3 * kPage});
  protect(3, Access::kReadWrite);
  EXPECT_EQ(cpu_.step(ram_), std::nullopt);
  EXPECT_EQ(peek(at), UINT64_MAX);
}

TEST_F(ToyCpuTest, AtomicsNeedWritePermission) {
  set_register(R1, 2 * kPage);
  must(Assembler(Gpa{0}).fetch_add(R2, R1, R1).write_to(*memory_));
  protect(2, Access::kRead);
  EXPECT_EQ(std::get<ExitWriteProtected>(*cpu_.step(ram_)).gpa, Gpa{2 * kPage});
  EXPECT_EQ(peek(2 * kPage), 0U);
}

TEST_F(ToyCpuTest, ProtectedPagesCanBeReadAndMissingOnesCannot) {
  poke(2 * kPage, 7);
  set_register(R1, 2 * kPage);
  must(Assembler(Gpa{0}).load(R2, R1, 0, 8).write_to(*memory_));
  protect(2, Access::kNone);
  EXPECT_FALSE(std::get<ExitMissingPage>(*cpu_.step(ram_)).is_write);
  protect(2, Access::kRead);
  EXPECT_EQ(cpu_.step(ram_), std::nullopt);
  EXPECT_EQ(state().r[2], 7U);
}

TEST_F(ToyCpuTest, TheDirtyLogHoldsWritesAndNothingElse) {
  set_register(R1, 3 * kPage - 1);
  set_register(R2, 5 * kPage);
  set_register(R3, 6 * kPage);
  set_register(R4, 1);
  must(Assembler(Gpa{0})
           .store(R4, R1, 0, 2)
           .load(R5, R2, 0, 8)
           .compare_exchange(R4, R3, R4)
           .store(R4, R2, kPage * 2, 8)
           .write_to(*memory_));
  cpu_.step(ram_);  // Before the log: does not count.
  ram_.start_dirty_log();
  EXPECT_THAT(ram_.collect_dirty_log(), testing::IsEmpty());
  ToyVcpuState again = state();
  again.pc = 0;
  cpu_.set_state(again);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(cpu_.step(ram_), std::nullopt);
  }
  EXPECT_THAT(ram_.collect_dirty_log(), testing::ElementsAre(GpaRange{Gpa{2 * kPage}, 2 * kPage},
                                                             GpaRange{Gpa{6 * kPage}, 2 * kPage}));
  EXPECT_THAT(ram_.collect_dirty_log(), testing::IsEmpty());
}

}  // namespace
}  // namespace stasis::mock
