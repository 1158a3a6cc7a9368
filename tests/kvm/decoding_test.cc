// The parts of the backend that need no KVM: table-driven and on every host.
#include <array>
#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/guest_tables.h"
#include "kvm/host_cpuid.h"
#include "kvm/pending_io.h"
#include "kvm/vcpu_state_io.h"
#include "kvm/x86_transfer.h"
#include "tests/support/must.h"

namespace stasis::kvm {
namespace {

TEST(X86TransferTest, SystemRegistersSurviveTheKernelsLayout) {
  X86SystemRegisters registers;
  std::uint16_t number = 1;
  for (X86Segment* segment : {&registers.cs, &registers.ds, &registers.es, &registers.fs,
                              &registers.gs, &registers.ss, &registers.tr, &registers.ldt}) {
    segment->base = 0x1000U * number;
    segment->limit = 0xffff0000U + number;
    segment->selector = number;
    segment->attributes = (0x1f0ffU & (0x10101U * number)) | (1U << number);
    segment->attributes &= 0x1f0ffU;
    ++number;
  }
  registers.gdt = {0x123456789abc, 0x7f};
  registers.idt = {0xcba987654321, 0xfff};
  registers.cr0 = 1;
  registers.cr2 = 2;
  registers.cr3 = 3;
  registers.cr4 = 4;
  registers.cr8 = 8;
  registers.efer = 9;
  registers.apic_base = 10;
  registers.interrupt_bitmap = {1, 2, 3, 4};
  EXPECT_EQ(from_kvm(to_kvm(registers)), registers);
}

TEST(X86TransferTest, EverySegmentAttributeHasItsOwnField) {
  for (unsigned bit = 0; bit <= 16; ++bit) {
    if (bit >= 8 && bit < 12) {
      continue;  // Reserved.
    }
    X86SystemRegisters registers;
    registers.gs.attributes = 1U << bit;
    EXPECT_EQ(from_kvm(to_kvm(registers)).gs.attributes, 1U << bit) << bit;
  }
}

TEST(X86TransferTest, GeneralAndDebugRegistersSurvive) {
  const X86GeneralRegisters general{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
  EXPECT_EQ(from_kvm(to_kvm(general)), general);
  EXPECT_EQ(to_kvm(general).rbp, 8U);
  EXPECT_EQ(to_kvm(general).rip, 17U);
  X86DebugRegisters debug;
  debug.db = {1, 2, 3, 4};
  debug.dr6 = 5;
  debug.dr7 = 6;
  EXPECT_EQ(from_kvm(to_kvm(debug)), debug);
}

TEST(X86TransferTest, EventsSurviveWithWhatTheVmHasEnabled) {
  X86PendingEvents events;
  events.exception_pending = true;
  events.exception_has_error_code = true;
  events.exception_has_payload = true;
  events.exception_vector = 14;
  events.exception_error_code = 6;
  events.exception_payload = 0xdeadb000;
  events.interrupt_injected = true;
  events.interrupt_soft = true;
  events.interrupt_vector = 0x80;
  events.interrupt_shadow = 1;
  events.nmi_injected = events.nmi_pending = events.nmi_masked = true;
  events.sipi_vector = 7;
  events.smi_pending = true;
  events.triple_fault_pending = true;
  EXPECT_EQ(from_kvm(to_kvm(events, {.payload = true, .triple_fault = true})), events);
  // A VM that has not enabled them must not be told of them: KVM refuses unknown flags.
  const kvm_vcpu_events plain = to_kvm(events, {});
  EXPECT_EQ(plain.flags & (KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT), 0U);
  EXPECT_EQ(to_kvm(X86PendingEvents{}, {}).flags & KVM_VCPUEVENT_VALID_SMM, 0U);
}

TEST(X86TransferTest, NamesAreForPeople) {
  EXPECT_EQ(hex(0), "0x0");
  EXPECT_EQ(hex(0xdeadbeef12345678), "0xdeadbeef12345678");
  EXPECT_EQ(msr_name(0xc0000082), "IA32_LSTAR (0xc0000082)");
  EXPECT_EQ(msr_name(0x1234), "MSR 0x1234");
  EXPECT_EQ(exit_reason_name(KVM_EXIT_SHUTDOWN), "KVM_EXIT_SHUTDOWN");
}

TEST(PendingIoTest, MemoryFragmentsAreCutIntoPowersOfTwo) {
  for (std::size_t length = 1; length <= 8; ++length) {
    std::array<std::byte, 8> data{};
    PendingIo io;
    io.begin_mmio(0x1000, IoDirection::kRead, std::span(data).first(length));
    std::size_t done = 0;
    while (io.has_next()) {
      const auto read = std::get<ExitIoRead>(io.next());
      EXPECT_EQ(read.access.address, 0x1000 + done);
      EXPECT_TRUE(std::has_single_bit(read.access.width_bytes));
      EXPECT_TRUE(io.awaiting_answer());
      io.answer(0x0807060504030201 >> (8 * done));
      done += read.access.width_bytes;
    }
    EXPECT_EQ(done, length);
    for (std::size_t i = 0; i < length; ++i) {
      EXPECT_EQ(data[i], static_cast<std::byte>(i + 1));
    }
  }
}

TEST(PendingIoTest, AccessThatWasNotDeliveredIsHandedOutAgain) {
  std::array<std::byte, 2> data = {std::byte{1}, std::byte{2}};
  PendingIo io;
  io.begin_port(5, IoDirection::kWrite, 1, data);
  EXPECT_EQ(std::get<ExitIoWrite>(io.next()).data, 1U);
  io.hand_out_again();
  EXPECT_EQ(std::get<ExitIoWrite>(io.next()).data, 1U);
  EXPECT_EQ(std::get<ExitIoWrite>(io.next()).data, 2U);
  EXPECT_FALSE(io.has_next());
  io.begin_port(5, IoDirection::kRead, 1, data);
  (void)io.next();
  io.hand_out_again();
  EXPECT_FALSE(io.awaiting_answer());
  EXPECT_TRUE(io.has_next());
  io.abandon();
  EXPECT_FALSE(io.has_next());
}

TEST(HostCpuidTest, FeatureNeedsItsBitAndItsRegisters) {
  const std::vector<X86CpuidEntry> leaves = {{7, 0, 0, 0, 1U << 16U | 1U << 8U, 0, 0}};
  EXPECT_THAT(features_of(leaves, 0xe7), testing::ElementsAre("avx512f", "bmi2"));
  EXPECT_THAT(features_of(leaves, 0x7), testing::ElementsAre("bmi2"));
  EXPECT_TRUE(features_of({}, UINT64_MAX).empty());
}

TEST(HostCpuidTest, CheapLeavesAgreeWithTheProcessor) {
  const X86CpuidEntry leaf = host_cpuid(7, 0);
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::uint32_t d = 0;
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
  EXPECT_EQ(leaf.ebx, b);
  EXPECT_EQ(leaf.ecx, c);
  EXPECT_EQ(leaf.edx, d);
  __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x80000008), "c"(0));
  EXPECT_EQ(host_cpuid(0x80000008, 0).eax, a) << "width of physical addresses";
}

TEST(CheckFeaturesTest, EveryMissingFeatureIsNamed) {
  const std::vector<X86CpuidEntry> wanted = {{1, 0, 0, 0, 0, 1U << 25U | 1U << 20U, 0}};
  const std::vector<X86CpuidEntry> host = {{1, 0, 0, 0, 0, 1U << 20U, 0}};
  EXPECT_TRUE(check_features(host, wanted));
  const auto refused = check_features(wanted, host);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("feature(s) aes that"));
}

// 64 MiB of RAM in one slot, with the tables of a small guest.
class GuestTablesTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kMib = std::uint64_t{1} << 20U;

  GuestTablesTest() {
    const RegionSpec spec{.range = {Gpa{0}, 64 * kMib}};
    memory_ = must(GuestMemory::create({&spec, 1}, 4096));
    // No kernel behind the descriptor: only the arithmetic of the slots is used.
    (void)slots_.add(*memory_, 0, Deferral::kForbidden, {});
    put(0x1000, 0, 0x2000 | 7);
    put(0x2000, 0, 0x3000 | 7);
    for (std::uint64_t i = 0; i < 32; ++i) {
      put(0x3000, i, (i * 2 * kMib) | 0x87);
    }
    system_.cs.selector = 0x33;
    system_.cr0 = 0x80000001;
    system_.cr3 = 0x1000;
    system_.cr4 = 0x20;
    system_.efer = 0x500;
    system_.gdt = {0x4000, 0x37};
    system_.idt = {0x5000, 0x1ff};
    system_.tr.base = 0x6000;
    system_.tr.limit = 103;
  }
  void put(std::uint64_t table, std::uint64_t index, std::uint64_t entry) {
    must(memory_->write_object(Gpa{table + index * 8}, entry));
  }
  bool below(std::uint64_t limit) { return tables_are_below(slots_, system_, Gpa{limit}); }

  std::unique_ptr<GuestMemory> memory_;
  KvmFd no_kernel_{UniqueFd()};
  MemorySlots slots_{no_kernel_, 32, {}};
  X86SystemRegisters system_;
};

TEST_F(GuestTablesTest, LowTablesOfARingThreeGuestAreBelow) {
  EXPECT_TRUE(below(4 * kMib));
  EXPECT_FALSE(below(0x5fff)) << "the TSS ends beyond";
}

TEST_F(GuestTablesTest, OtherModesAreNot) {
  const X86SystemRegisters good = system_;
  system_.cs.selector = 0x8;
  EXPECT_FALSE(below(4 * kMib)) << "ring 0";
  system_ = good;
  system_.cr4 |= 1U << 12U;
  EXPECT_FALSE(below(4 * kMib)) << "5-level paging";
  system_ = good;
  system_.efer = 0;
  EXPECT_FALSE(below(4 * kMib)) << "32 bits";
  system_ = good;
  system_.cr0 = 1;
  EXPECT_FALSE(below(4 * kMib)) << "no paging";
}

TEST_F(GuestTablesTest, AnyTableBeyondIsFound) {
  put(0x1000, 511, (32 * kMib) | 7);
  EXPECT_FALSE(below(4 * kMib)) << "PDPT";
  put(0x1000, 511, 0);
  put(0x2000, 511, (32 * kMib) | 7);
  EXPECT_FALSE(below(4 * kMib)) << "page directory";
  put(0x2000, 511, 0);
  put(0x3000, 511, (32 * kMib) | 7);
  EXPECT_FALSE(below(4 * kMib)) << "page table";
  put(0x3000, 511, (32 * kMib) | 6);
  EXPECT_TRUE(below(4 * kMib)) << "not present";
  put(0x3000, 511, (32 * kMib) | 0x87);
  EXPECT_TRUE(below(4 * kMib)) << "a large page is not a table";
}

TEST_F(GuestTablesTest, DescriptorTablesAndStacksBeyondAreFound) {
  const X86SystemRegisters good = system_;
  system_.gdt.base = 5 * kMib;
  EXPECT_FALSE(below(4 * kMib));
  system_ = good;
  system_.idt.base = 4 * kMib - 16;
  EXPECT_FALSE(below(4 * kMib)) << "it begins below and ends beyond";
  system_ = good;
  system_.tr.base = 5 * kMib;
  EXPECT_FALSE(below(4 * kMib));
  system_ = good;
  must(memory_->write_object(Gpa{0x6000 + 36}, 6 * kMib));
  EXPECT_FALSE(below(4 * kMib)) << "IST1";
}

TEST_F(GuestTablesTest, HostileTablesEndTheWalk) {
  // Every entry of every level points to one table: 512^3 paths.
  for (std::uint64_t i = 0; i < 512; ++i) {
    put(0x1000, i, 0x1000 | 7);
  }
  EXPECT_FALSE(below(4 * kMib));
  for (std::uint64_t i = 0; i < 512; ++i) {
    put(0x1000, i, 0x000ffffffffff000 | 7);
  }
  EXPECT_FALSE(below(4 * kMib)) << "outside of RAM";
}

}  // namespace
}  // namespace stasis::kvm
