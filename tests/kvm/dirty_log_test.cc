// The dirty logs miss nothing, over several slots, holes, page-crossing stores and several vCPUs,
// and are exact for pages that KVM has mapped before: the bitmap, the bitmap that is cleared by
// hand, and the rings, which are short here so that they run full.
#include <algorithm>
#include <bit>
#include <random>
#include <string>
#include <thread>

#include "core/ranges.h"
#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

// RSI: a list of addresses, RCX of them; stores 8 bytes at each.
STASIS_X86_CODE(
    store_list,
    "1: mov (%rsi), %rax\n movq %rcx, (%rax)\n add $8, %rsi\n dec %rcx\n jnz 1b\n" STASIS_X86_HALT)
STASIS_X86_CODE(
    read_list,
    "1: mov (%rsi), %rax\n mov (%rax), %rbx\n add $8, %rsi\n dec %rcx\n jnz 1b\n" STASIS_X86_HALT)

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kList = 2 * kMib;  // Never written by the guest.

class DirtyLogTest : public KvmTest, public testing::WithParamInterface<DirtyLogKind> {
 protected:
  void SetUp() override {
    KvmTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Capabilities& has = capabilities();
    const Availability& needed =
        GetParam() == DirtyLogKind::kRing ? has.dirty_ring : has.manual_dirty_log;
    if (GetParam() != DirtyLogKind::kBitmap && !needed.available) {
      GTEST_SKIP() << needed.reason;
    }
    if (GetParam() == DirtyLogKind::kRing) {
      ring_entries_ = kDirtyRingEntriesMin;
    }
  }
  static DirtyLog& log_of(Vm& vm) { return *vm.dirty_log(GetParam()); }
  // KVM maps the pages now, so that the log can tell reads from writes later.
  void warm_up(Vm& vm, GuestMemory& memory, const std::vector<std::uint64_t>& addresses) {
    run_list(vm, memory, store_list(), addresses);
    run_list(vm, memory, read_list(), addresses);
  }
  // Runs the program over `addresses` on a vCPU that it makes first.
  void run_list(Vm& vm, GuestMemory& memory, std::span<const std::byte> code,
                const std::vector<std::uint64_t>& addresses) {
    must(memory.write(Gpa{kList}, std::as_bytes(std::span(addresses))));
    X86VcpuState start = place(memory, code);
    start.general.rsi = kList;
    start.general.rcx = addresses.size();
    if (!vcpu_) {
      vcpu_ = must(vm.create_vcpu(0));
    }
    must(vcpu_->load_state(start));
    expect_halted(must(vcpu_->run()));
  }
  // The program's own writes; the environment (exception frame) is not its business.
  static GpaRanges program_writes(Vm& vm) {
    const GpaRanges all = must(log_of(vm).collect());
    return subtract(all, {{Gpa{0}, x86_ring3::kEnvironmentBytes}});
  }
  static GpaRanges pages_of(const std::vector<std::uint64_t>& addresses) {
    GpaRanges ranges;
    for (const std::uint64_t address : addresses) {
      ranges.push_back({Gpa{address}, 8});
    }
    return align_outward(normalize(ranges), kPage);
  }

  std::unique_ptr<Vcpu> vcpu_;
};

TEST_P(DirtyLogTest, ReportsTheWrittenPagesOfTwoSlotsWithAHoleAndNothingElse) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}, {Gpa{64 * kMib}, 16 * kMib}});
  auto& [memory, vm] = made;
  const std::vector<std::uint64_t> addresses = {
      4 * kMib,         4 * kMib + kPage,       8 * kMib - 8,
      64 * kMib,        64 * kMib + 70 * kPage, 70 * kMib + 63 * kPage,
      80 * kMib - kPage};
  warm_up(*vm, *memory, addresses);
  must(log_of(*vm).start());
  run_list(*vm, *memory, store_list(), addresses);
  EXPECT_EQ(program_writes(*vm), pages_of(addresses));
  EXPECT_TRUE(program_writes(*vm).empty()) << "collecting forgets";
  vcpu_.reset();
}

TEST_P(DirtyLogTest, StoreAcrossAPageBoundaryDirtiesBothPages) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {5 * kMib - 3});
  must(log_of(*vm).start());
  run_list(*vm, *memory, store_list(), {5 * kMib - 3});
  EXPECT_EQ(program_writes(*vm), (GpaRanges{{Gpa{5 * kMib - kPage}, 2 * kPage}}));
  vcpu_.reset();
}

TEST_P(DirtyLogTest, AdjacentSlotsAreJoinedInOneRange) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}, {Gpa{8 * kMib}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {8 * kMib - 8, 8 * kMib});
  must(log_of(*vm).start());
  run_list(*vm, *memory, store_list(), {8 * kMib - 8, 8 * kMib});
  EXPECT_EQ(program_writes(*vm), (GpaRanges{{Gpa{8 * kMib - kPage}, 2 * kPage}}));
  vcpu_.reset();
}

TEST_P(DirtyLogTest, ReadsAndHostWritesAreNotGuestWrites) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {4 * kMib, 5 * kMib, 6 * kMib});
  must(log_of(*vm).start());
  run_list(*vm, *memory, read_list(), {4 * kMib, 5 * kMib, 6 * kMib});
  must(memory->write_object(Gpa{7 * kMib}, std::uint64_t{1}));
  EXPECT_TRUE(program_writes(*vm).empty());
  vcpu_.reset();
}

TEST_P(DirtyLogTest, AgreesWithTheProgramOverManyRandomRounds) {
  const std::vector<GpaRange> ranges = {{Gpa{0}, 32 * kMib}, {Gpa{48 * kMib}, 33 * kMib}};
  auto made = make_vm(ranges);
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {4 * kMib});  // The program and its list, which it only reads.
  std::mt19937_64 random(7);          // NOLINT(cert-msc51-cpp): the same test every time.
  must(log_of(*vm).start());
  for (int round = 0; round < 30; ++round) {
    std::vector<std::uint64_t> addresses(1 + random() % 200);
    for (std::uint64_t& address : addresses) {
      address = random() % 2 == 0 ? 4 * kMib + random() % (28 * kMib - 8)
                                  : 48 * kMib + random() % (33 * kMib - 8);
    }
    run_list(*vm, *memory, store_list(), addresses);
    ASSERT_EQ(program_writes(*vm), pages_of(addresses)) << "round " << round;
  }
  vcpu_.reset();
}

TEST_P(DirtyLogTest, StartsCleanAfterWritesAndAgainAfterStop) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  DirtyLog& log = log_of(*vm);
  EXPECT_EQ(log.collect().error().code, Errc::kInvalidArgument);
  EXPECT_EQ(log.stop().error().code, Errc::kInvalidArgument);
  run_list(*vm, *memory, store_list(), {4 * kMib, 5 * kMib});
  must(log.start());
  EXPECT_EQ(log.start().error().code, Errc::kInvalidArgument);
  EXPECT_TRUE(program_writes(*vm).empty());
  run_list(*vm, *memory, store_list(), {5 * kMib});
  must(log.stop());
  run_list(*vm, *memory, store_list(), {6 * kMib});
  must(log.start());
  EXPECT_TRUE(program_writes(*vm).empty());
  run_list(*vm, *memory, store_list(), {4 * kMib});
  EXPECT_EQ(program_writes(*vm), pages_of({4 * kMib}));
  vcpu_.reset();
}

// More pages than a ring has entries, so that its vCPU has to stop, and many slots' worth of words.
TEST_P(DirtyLogTest, ManyPagesInOneRunAreAllReported) {
  auto made = make_vm({{Gpa{0}, 32 * kMib}});
  auto& [memory, vm] = made;
  must(log_of(*vm).start());
  std::vector<std::uint64_t> addresses;
  for (std::uint64_t at = 4 * kMib; at < 24 * kMib; at += kPage) {
    addresses.push_back(at + at / kPage % 4000);
  }
  for (int round = 0; round < 2; ++round) {
    run_list(*vm, *memory, store_list(), addresses);
    EXPECT_EQ(subtract(program_writes(*vm), {{Gpa{0}, 4 * kMib}}),
              (GpaRanges{{Gpa{4 * kMib}, 20 * kMib}}));
    EXPECT_TRUE(program_writes(*vm).empty());
  }
  vcpu_.reset();
}

TEST_P(DirtyLogTest, OnlyOneLogOfAVmRunsAtATime) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  Vm& vm = *made.vm;
  must(log_of(vm).start());
  int kept = 0;
  for (const DirtyLogKind kind :
       {DirtyLogKind::kBitmap, DirtyLogKind::kManualClear, DirtyLogKind::kRing}) {
    if (DirtyLog* const log = vm.dirty_log(kind); log != nullptr) {
      ++kept;
      EXPECT_EQ(log->start().error().code, Errc::kInvalidArgument) << name_of(kind);
    }
  }
  EXPECT_EQ(kept == 1,
            GetParam() == DirtyLogKind::kRing || !capabilities().manual_dirty_log.available);
  must(log_of(vm).stop());
}

TEST_P(DirtyLogTest, SeesTheWritesOfEveryVcpu) {
  auto [memory, vm] = make_vm({{Gpa{0}, 16 * kMib}}, 4);
  must(log_of(*vm).start());
  const GpaRanges data = {{Gpa{4 * kMib}, 12 * kMib}};
  std::vector<std::thread> threads;
  std::vector<std::uint64_t> all;
  for (std::uint32_t i = 0; i < 4; ++i) {
    std::vector<std::uint64_t> addresses;
    for (std::uint64_t k = 0; k < 100; ++k) {
      addresses.push_back(4 * kMib + (k * 4 + i) * 2 * kPage);
    }
    all.insert(all.end(), addresses.begin(), addresses.end());
    must(memory->write(Gpa{kList + i * kPage}, std::as_bytes(std::span(addresses))));
    X86VcpuState start = place(*memory, store_list(), i);
    start.general.rsi = kList + i * kPage;
    start.general.rcx = addresses.size();
    threads.emplace_back([i, start, &vm = *vm] {
      auto vcpu = make_vcpu(vm, start, i);
      expect_halted(must(vcpu->run()));
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(intersect(program_writes(*vm), data), pages_of(all));
}

// KVM maps a page that it has not mapped yet writable also when the guest only reads it, and then
// logs it.
TEST_P(DirtyLogTest, FirstTouchesMayBeReportedButNothingUntouchedIs) {
  auto made = make_vm({{Gpa{0}, 16 * kMib}});
  auto& [memory, vm] = made;
  EXPECT_FALSE(log_of(*vm).is_exact());
  must(log_of(*vm).start());
  const std::vector<std::uint64_t> addresses = {4 * kMib, 9 * kMib, 11 * kMib};
  run_list(*vm, *memory, read_list(), addresses);
  const GpaRanges touched =
      unite(pages_of(addresses), {{x86_ring3::code_address(0), kPage}, {Gpa{kList}, kPage}});
  EXPECT_EQ(subtract(program_writes(*vm), touched), GpaRanges{});
  run_list(*vm, *memory, read_list(), addresses);
  EXPECT_EQ(program_writes(*vm), GpaRanges{}) << "a page is reported at most once for a read";
  vcpu_.reset();
}

INSTANTIATE_TEST_SUITE_P(Kinds, DirtyLogTest,
                         testing::Values(DirtyLogKind::kBitmap, DirtyLogKind::kManualClear,
                                         DirtyLogKind::kRing),
                         [](const auto& kind) {
                           std::string name(name_of(kind.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class RingLimits : public KvmTest {};

TEST_F(RingLimits, RingsOfAWrongLengthAreRefusedNamingTheLimits) {
  if (!capabilities().dirty_ring.available) {
    const auto refused = backend().create_vm({.vcpus = 1, .dirty_ring_entries = 4096});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    return;
  }
  const std::uint32_t most = capabilities().dirty_ring_entries_max;
  for (const std::uint32_t entries : {1U, 1023U, 1025U, most * 2, UINT32_MAX}) {
    const auto refused = backend().create_vm({.vcpus = 1, .dirty_ring_entries = entries});
    ASSERT_FALSE(refused) << entries;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, testing::HasSubstr(std::to_string(most)));
  }
  EXPECT_TRUE(backend().create_vm({.vcpus = 1, .dirty_ring_entries = std::bit_floor(most)}));
}

}  // namespace
}  // namespace stasis::kvm
