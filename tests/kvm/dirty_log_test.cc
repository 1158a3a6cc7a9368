// The dirty log misses nothing, over several slots, holes, page-crossing stores and several vCPUs,
// and is exact for pages that KVM has mapped before.
#include <random>
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

class DirtyLogTest : public KvmTest {
 protected:
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
    const GpaRanges all = must(vm.dirty_log()->collect());
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

TEST_F(DirtyLogTest, ReportsTheWrittenPagesOfTwoSlotsWithAHoleAndNothingElse) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}, {Gpa{64 * kMib}, 16 * kMib}});
  auto& [memory, vm] = made;
  const std::vector<std::uint64_t> addresses = {
      4 * kMib,         4 * kMib + kPage,       8 * kMib - 8,
      64 * kMib,        64 * kMib + 70 * kPage, 70 * kMib + 63 * kPage,
      80 * kMib - kPage};
  warm_up(*vm, *memory, addresses);
  must(vm->dirty_log()->start());
  run_list(*vm, *memory, store_list(), addresses);
  EXPECT_EQ(program_writes(*vm), pages_of(addresses));
  EXPECT_TRUE(program_writes(*vm).empty()) << "collecting forgets";
  vcpu_.reset();
}

TEST_F(DirtyLogTest, StoreAcrossAPageBoundaryDirtiesBothPages) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {5 * kMib - 3});
  must(vm->dirty_log()->start());
  run_list(*vm, *memory, store_list(), {5 * kMib - 3});
  EXPECT_EQ(program_writes(*vm), (GpaRanges{{Gpa{5 * kMib - kPage}, 2 * kPage}}));
  vcpu_.reset();
}

TEST_F(DirtyLogTest, AdjacentSlotsAreJoinedInOneRange) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}, {Gpa{8 * kMib}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {8 * kMib - 8, 8 * kMib});
  must(vm->dirty_log()->start());
  run_list(*vm, *memory, store_list(), {8 * kMib - 8, 8 * kMib});
  EXPECT_EQ(program_writes(*vm), (GpaRanges{{Gpa{8 * kMib - kPage}, 2 * kPage}}));
  vcpu_.reset();
}

TEST_F(DirtyLogTest, ReadsAndHostWritesAreNotGuestWrites) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {4 * kMib, 5 * kMib, 6 * kMib});
  must(vm->dirty_log()->start());
  run_list(*vm, *memory, read_list(), {4 * kMib, 5 * kMib, 6 * kMib});
  must(memory->write_object(Gpa{7 * kMib}, std::uint64_t{1}));
  EXPECT_TRUE(program_writes(*vm).empty());
  vcpu_.reset();
}

TEST_F(DirtyLogTest, AgreesWithTheProgramOverManyRandomRounds) {
  const std::vector<GpaRange> ranges = {{Gpa{0}, 32 * kMib}, {Gpa{48 * kMib}, 33 * kMib}};
  auto made = make_vm(ranges);
  auto& [memory, vm] = made;
  warm_up(*vm, *memory, {4 * kMib});  // The program and its list, which it only reads.
  std::mt19937_64 random(7);          // NOLINT(cert-msc51-cpp): the same test every time.
  must(vm->dirty_log()->start());
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

TEST_F(DirtyLogTest, StartsCleanAfterWritesAndAgainAfterStop) {
  auto made = make_vm({{Gpa{0}, 8 * kMib}});
  auto& [memory, vm] = made;
  DirtyLog& log = *vm->dirty_log();
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

TEST_F(DirtyLogTest, SeesTheWritesOfEveryVcpu) {
  auto [memory, vm] = make_vm({{Gpa{0}, 16 * kMib}}, 4);
  must(vm->dirty_log()->start());
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
TEST_F(DirtyLogTest, FirstTouchesMayBeReportedButNothingUntouchedIs) {
  auto made = make_vm({{Gpa{0}, 16 * kMib}});
  auto& [memory, vm] = made;
  EXPECT_FALSE(vm->dirty_log()->is_exact());
  must(vm->dirty_log()->start());
  const std::vector<std::uint64_t> addresses = {4 * kMib, 9 * kMib, 11 * kMib};
  run_list(*vm, *memory, read_list(), addresses);
  const GpaRanges touched =
      unite(pages_of(addresses), {{x86_ring3::code_address(0), kPage}, {Gpa{kList}, kPage}});
  EXPECT_EQ(subtract(program_writes(*vm), touched), GpaRanges{});
  run_list(*vm, *memory, read_list(), addresses);
  EXPECT_EQ(program_writes(*vm), GpaRanges{}) << "a page is reported at most once for a read";
  vcpu_.reset();
}

}  // namespace
}  // namespace stasis::kvm
