// Decoding of ESR_EL2. The syndromes are literals, put together by hand from the manual's diagrams:
// EC [31:26], IL [25], ISS [24:0].
#include "hvf/syndrome.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/arm64_state.h"
#include "hvf/syndrome_text.h"

namespace stasis::hvf {
namespace {

constexpr std::uint64_t kDataAbort = 0x92000000;         // EC 0x24, IL.
constexpr std::uint64_t kInstructionAbort = 0x82000000;  // EC 0x20, IL.

FaultStatus translation3() {
  return {FaultKind::kTranslation, std::int8_t{3}, 0x07};
}

struct AccessCase {
  const char* instruction;
  std::uint64_t esr;
  bool is_write;
  AbortedAccess access;
};

const std::vector<AccessCase>& access_cases() {
  static const std::vector<AccessCase> cases = {
      {"str w3", 0x93830047, true, {4, false, false, false, 3}},
      {"str x30", 0x93de8047, true, {8, false, true, false, 30}},
      {"strb w0", 0x93000047, true, {1, false, false, false, 0}},
      {"strh w17", 0x93510047, true, {2, false, false, false, 17}},
      {"str xzr", 0x93df8047, true, {8, false, true, false, std::nullopt}},
      {"stlr w9", 0x93894047, true, {4, false, false, true, 9}},
      {"ldr w1", 0x93810007, false, {4, false, false, false, 1}},
      {"ldr x2", 0x93c28007, false, {8, false, true, false, 2}},
      {"ldrb w31", 0x931f0007, false, {1, false, false, false, std::nullopt}},
      {"ldrsb w4", 0x93240007, false, {1, true, false, false, 4}},
      {"ldrsb x5", 0x93258007, false, {1, true, true, false, 5}},
      {"ldrsh w6", 0x93660007, false, {2, true, false, false, 6}},
      {"ldrsh x7", 0x93678007, false, {2, true, true, false, 7}},
      {"ldrsw x8", 0x93a88007, false, {4, true, true, false, 8}},
      {"ldar x10", 0x93cac007, false, {8, false, true, true, 10}},
  };
  return cases;
}

TEST(SyndromeTest, ADescribedAccessHasSizeSignAndRegister) {
  for (const AccessCase& expected : access_cases()) {
    SCOPED_TRACE(expected.instruction);
    DataAbort abort;
    abort.fault = translation3();
    abort.is_write = expected.is_write;
    abort.access = expected.access;
    EXPECT_EQ(decode_syndrome(expected.esr), Trap(abort));
    EXPECT_EQ(may_write(abort), expected.is_write);
  }
}

TEST(SyndromeTest, WithoutIsvTheAccessFieldsAreNotBelieved) {
  // stp x0, x1 to a write-protected page; then the same with SAS, SSE, SRT, SF and AR full of ones.
  for (const std::uint64_t esr : {kDataAbort | 0x4f, kDataAbort | 0x00ffc04f}) {
    DataAbort abort;
    abort.fault = {FaultKind::kPermission, std::int8_t{3}, 0x0f};
    abort.is_write = true;
    EXPECT_EQ(decode_syndrome(esr), Trap(abort));
  }
}

TEST(SyndromeTest, FlagsOfADataAbortEachHaveTheirBit) {
  DataAbort abort;
  abort.fault = translation3();
  EXPECT_EQ(decode_syndrome(kDataAbort | 0x07), Trap(abort));
  abort.has_virtual_address = false;
  EXPECT_EQ(decode_syndrome(kDataAbort | 0x407), Trap(abort));
  abort.is_cache_maintenance = true;
  EXPECT_EQ(decode_syndrome(kDataAbort | 0x507), Trap(abort));
  abort.is_table_walk = true;
  EXPECT_EQ(decode_syndrome(kDataAbort | 0x587), Trap(abort));
  abort.is_write = true;
  EXPECT_EQ(decode_syndrome(kDataAbort | 0x5c7), Trap(abort));
}

TEST(SyndromeTest, AWalkOfTheGuestsTablesCountsAsAWrite) {
  DataAbort data;
  EXPECT_FALSE(may_write(data));
  data.is_table_walk = true;
  EXPECT_TRUE(may_write(data));
  InstructionAbort instruction;
  EXPECT_FALSE(may_write(instruction));
  instruction.is_table_walk = true;
  EXPECT_TRUE(may_write(instruction));
}

TEST(SyndromeTest, AnInstructionAbortHasNoAccess) {
  EXPECT_EQ(decode_syndrome(kInstructionAbort | 0x07), Trap(InstructionAbort{translation3()}));
  // Bits that mean ISV and WnR for data are reserved here.
  const InstructionAbort walk{{FaultKind::kPermission, std::int8_t{2}, 0x0e}, true, false};
  EXPECT_EQ(decode_syndrome(kInstructionAbort | 0x010004ce), Trap(walk));
}

TEST(SyndromeTest, EveryFaultCodeHasOneMeaning) {
  struct Row {
    std::uint8_t first, last;
    FaultKind kind;
    int first_level;  // Of `first`; it rises by one a code.
  };
  const Row rows[] = {
      {0x00, 0x03, FaultKind::kAddressSize, 0},  {0x04, 0x07, FaultKind::kTranslation, 0},
      {0x08, 0x0b, FaultKind::kAccessFlag, 0},   {0x0c, 0x0f, FaultKind::kPermission, 0},
      {0x13, 0x17, FaultKind::kExternal, -1},    {0x1b, 0x1f, FaultKind::kExternal, -1},
      {0x29, 0x29, FaultKind::kAddressSize, -1}, {0x2b, 0x2b, FaultKind::kTranslation, -1},
  };
  std::set<unsigned> seen;
  for (const Row& row : rows) {
    for (unsigned code = row.first; code <= row.last; ++code) {
      const auto level = static_cast<std::int8_t>(row.first_level + int(code) - int(row.first));
      const auto trap = std::get<DataAbort>(decode_syndrome(kDataAbort | code));
      EXPECT_EQ(trap.fault, (FaultStatus{row.kind, level, std::uint8_t(code)})) << code;
      seen.insert(code);
    }
  }
  const std::pair<unsigned, FaultKind> without_level[] = {{0x10, FaultKind::kExternal},
                                                          {0x11, FaultKind::kTagCheck},
                                                          {0x18, FaultKind::kExternal},
                                                          {0x21, FaultKind::kAlignment}};
  for (const auto& [code, kind] : without_level) {
    const auto trap = std::get<DataAbort>(decode_syndrome(kDataAbort | code));
    EXPECT_EQ(trap.fault, (FaultStatus{kind, std::nullopt, std::uint8_t(code)})) << code;
    seen.insert(code);
  }
  for (unsigned code = 0; code < 64; ++code) {
    if (!seen.contains(code)) {
      const auto trap = std::get<DataAbort>(decode_syndrome(kDataAbort | code));
      EXPECT_EQ(trap.fault, (FaultStatus{FaultKind::kOther, std::nullopt, std::uint8_t(code)}));
    }
  }
}

TEST(SyndromeTest, CallsCarryTheirImmediateAndSayWhereThePcIs) {
  EXPECT_EQ(decode_syndrome(0x5a000000), Trap(CallTrap{CallKind::kHvc, 0}));
  EXPECT_EQ(decode_syndrome(0x5a00beef), Trap(CallTrap{CallKind::kHvc, 0xbeef}));
  EXPECT_EQ(decode_syndrome(0x5e000001), Trap(CallTrap{CallKind::kSmc, 1}));
  EXPECT_EQ(bytes_to_skip(0x5a000000), 0U) << "HVC: already past it";
  EXPECT_EQ(bytes_to_skip(0x5e000000), 4U) << "SMC: at it";
  EXPECT_EQ(bytes_to_skip(0x93830047), 4U) << "an emulated store";
  EXPECT_EQ(bytes_to_skip(0x91830047), 2U) << "IL clear: a 16-bit instruction";
}

TEST(SyndromeTest, WaitsAreToldApart) {
  EXPECT_EQ(decode_syndrome(0x06000000), Trap(WaitTrap{WaitKind::kWfi, std::nullopt}));
  EXPECT_EQ(decode_syndrome(0x07e00000), Trap(WaitTrap{WaitKind::kWfi, std::nullopt}))
      << "CV, COND";
  EXPECT_EQ(decode_syndrome(0x06000001), Trap(WaitTrap{WaitKind::kWfe, std::nullopt}));
  EXPECT_EQ(decode_syndrome(0x060000a6), Trap(WaitTrap{WaitKind::kWfit, GeneralRegister(5)}));
  EXPECT_EQ(decode_syndrome(0x060003e7), Trap(WaitTrap{WaitKind::kWfet, GeneralRegister()}))
      << "wfet xzr: a deadline of zero, not none";
  EXPECT_EQ(decode_syndrome(0x060000a2), Trap(WaitTrap{WaitKind::kWfit, std::nullopt})) << "RV = 0";
  EXPECT_EQ(decode_syndrome(0x060000a4), Trap(WaitTrap{WaitKind::kWfi, std::nullopt}))
      << "RN means nothing for WFI";
}

TEST(SyndromeTest, ASystemRegisterTrapNamesTheRegisterAsMrsDoes) {
  // msr oslar_el1 (2,0,1,0,4), x0
  EXPECT_EQ(decode_syndrome(0x62280400),
            Trap(SystemRegisterTrap{0x8084, RegisterAccess::kWrite, 0}));
  // mrs x7, pmccntr_el0 (3,3,9,13,0)
  EXPECT_EQ(decode_syndrome(0x6230e4fb),
            Trap(SystemRegisterTrap{0xdce8, RegisterAccess::kRead, 7}));
  // msr icc_sgi1r_el1 (3,0,12,11,5), xzr
  EXPECT_EQ(decode_syndrome(0x623a33f6),
            Trap(SystemRegisterTrap{0xc65d, RegisterAccess::kWrite, std::nullopt}));
  // Every field at its largest.
  EXPECT_EQ(decode_syndrome(0x623fffff),
            Trap(SystemRegisterTrap{0xffff, RegisterAccess::kRead, std::nullopt}));
}

TEST(SyndromeTest, DebugExceptionsAreToldApart) {
  EXPECT_EQ(decode_syndrome(0xc2000022), Trap(DebugTrap{DebugKind::kBreakpoint, 0}));
  EXPECT_EQ(decode_syndrome(0xca000022), Trap(DebugTrap{DebugKind::kStep, 0}));
  EXPECT_EQ(decode_syndrome(0xd2000022), Trap(DebugTrap{DebugKind::kWatchpoint, 0}));
  EXPECT_EQ(decode_syndrome(0xf200f000), Trap(DebugTrap{DebugKind::kBrk, 0xf000}));
}

TEST(SyndromeTest, AnythingElseKeepsItsClassAndIss) {
  const std::set<unsigned> known = {0x01, 0x16, 0x17, 0x18, 0x20, 0x24, 0x30, 0x32, 0x34, 0x3c};
  unsigned others = 0;
  for (std::uint64_t ec = 0; ec < 64; ++ec) {
    const Trap trap = decode_syndrome((ec << 26U) | 0x01555555);
    if (known.contains(unsigned(ec))) {
      EXPECT_FALSE(std::holds_alternative<OtherTrap>(trap)) << ec;
    } else {
      EXPECT_EQ(trap, Trap(OtherTrap{std::uint8_t(ec), 0x01555555})) << ec;
      ++others;
    }
  }
  EXPECT_EQ(others, 54U);
}

TEST(SyndromeTest, BitsAboveTheSyndromeAreIgnored) {
  EXPECT_EQ(decode_syndrome(0xffffffff93830047), decode_syndrome(0x93830047));
}

TEST(SyndromeTest, LoadedValuesAreExtendedToTheRegister) {
  struct Row {
    AbortedAccess access;
    std::uint64_t raw, expected;
  };
  const Row rows[] = {
      {{1, false, false, false, 0}, 0xffffffffffffff80, 0x80},
      {{1, true, false, false, 0}, 0x80, 0xffffff80},
      {{1, true, true, false, 0}, 0x80, 0xffffffffffffff80},
      {{1, true, true, false, 0}, 0x7f, 0x7f},
      {{2, false, false, false, 0}, 0x1234f00d, 0xf00d},
      {{2, true, false, false, 0}, 0xf00d, 0xfffff00d},
      {{2, true, true, false, 0}, 0x8000, 0xffffffffffff8000},
      {{4, false, false, false, 0}, 0xaaaaaaaadeadbeef, 0xdeadbeef},
      {{4, true, true, false, 0}, 0xdeadbeef, 0xffffffffdeadbeef},
      {{4, true, true, false, 0}, 0x7fffffff, 0x7fffffff},
      {{8, false, true, false, 0}, 0xfedcba9876543210, 0xfedcba9876543210},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(loaded_value(row.access, row.raw), row.expected)
        << int(row.access.width_bytes) << " bytes of " << std::hex << row.raw;
  }
}

TEST(SyndromeTest, StoredValuesHaveTheWidthOfTheAccess) {
  const std::uint64_t value = 0xfedcba9876543210;
  EXPECT_EQ(stored_value({1, false, false, false, 0}, value), 0x10U);
  EXPECT_EQ(stored_value({2, false, false, false, 0}, value), 0x3210U);
  EXPECT_EQ(stored_value({4, false, false, false, 0}, value), 0x76543210U);
  EXPECT_EQ(stored_value({8, false, true, false, 0}, value), value);
}

TEST(SyndromeTest, TheAddressComesFromTwoRegistersWhereTheyHoldIt) {
  // HPFAR_EL2 has address bits [55:12] in [47:4]; NS (bit 63) and the reserved bits are not
  // address.
  const std::uint64_t hpfar = 0x800000000040010f;  // Page 0x40010; low bits must be ignored.
  const std::uint64_t far = 0xffff800012345678;
  const auto data = [&](std::uint64_t iss) {
    return abort_address(std::get<DataAbort>(decode_syndrome(kDataAbort | iss)), hpfar, far);
  };
  EXPECT_EQ(data(0x07), Gpa{0x40010678}) << "translation";
  EXPECT_EQ(data(0x0b), Gpa{0x40010678}) << "access flag";
  EXPECT_EQ(data(0x00), Gpa{0x40010678}) << "address size";
  EXPECT_EQ(data(0x4f), std::nullopt) << "permission: HPFAR_EL2 is UNKNOWN";
  EXPECT_EQ(data(0x8f), Gpa{0x40010000}) << "permission on a table walk";
  EXPECT_EQ(data(0x87), Gpa{0x40010000}) << "translation on a table walk";
  EXPECT_EQ(data(0x10), std::nullopt) << "external";
  EXPECT_EQ(data(0x21), std::nullopt) << "alignment";
  const auto instruction = [&](std::uint64_t iss) {
    return abort_address(std::get<InstructionAbort>(decode_syndrome(kInstructionAbort | iss)),
                         hpfar, far);
  };
  EXPECT_EQ(instruction(0x07), Gpa{0x40010678});
  EXPECT_EQ(instruction(0x0f), std::nullopt);
  EXPECT_EQ(instruction(0x8f), Gpa{0x40010000});
}

TEST(SyndromeTest, TrapsReadAsSentences) {
  const std::pair<std::uint64_t, const char*> rows[] = {
      {0x93830047, "data abort, translation fault at level 3 (code 0x7), store of 4 bytes from w3"},
      {0x93df8047,
       "data abort, translation fault at level 3 (code 0x7), store of 8 bytes from xzr"},
      {0x93c2800f, "data abort, permission fault at level 3 (code 0xf), load of 8 bytes to x2"},
      {0x9200004f,
       "data abort, permission fault at level 3 (code 0xf), a write that the syndrome does not "
       "describe"},
      {0x92000030,
       "data abort, fault of another kind (code 0x30), a read that the syndrome does not describe"},
      {0x92000147, "data abort, translation fault at level 3 (code 0x7), cache maintenance"},
      {0x8200008d,
       "instruction abort, permission fault at level 1 (code 0xd) on a walk of the guest's tables"},
      {0x5a000003, "HVC #0x3"},
      {0x5e000000, "SMC #0x0"},
      {0x06000001, "WFE"},
      {0x6230e4fb, "read of system register S3_3_C9_C13_0 to x7"},
      {0x62280400, "write of system register S2_0_C1_C0_4 from x0"},
      {0xf2000001, "BRK #0x1"},
      {0xca000022, "software step"},
      {0xbe000011, "exception class 0x2f, ISS 0x11"},
  };
  for (const auto& [esr, text] : rows) {
    EXPECT_EQ(describe(decode_syndrome(esr)), text);
  }
}

}  // namespace
}  // namespace stasis::hvf
