// A guest's own counter, found on the host's. Where guests read the host's counter (PVM), KVM's own
// arithmetic is still there to be tried: what it says of a vCPU's counter must agree with itself.
#include "kvm/guest_counter.h"

#include <fcntl.h>
#include <x86intrin.h>

#include <optional>
#include <thread>

#include "kvm/host_facts.h"
#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

STASIS_X86_CODE(note_counter,
                "rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, 0x200000\n" STASIS_X86_HALT)

std::uint64_t host_tsc() {
  unsigned int cpu = 0;
  const std::uint64_t value = __rdtscp(&cpu);
  _mm_lfence();
  return value;
}

class GuestCounterTest : public KvmTest {};

TEST_F(GuestCounterTest, WhatTheGuestReadLiesBetweenWhatTheHostReadAroundIt) {
  // 0: as KVM made it. A counter that will wrap in a moment, and one of a long life elsewhere.
  for (const std::uint64_t saved :
       {std::uint64_t{0}, UINT64_MAX - 5'000, std::uint64_t{1} << 61U}) {
    SCOPED_TRACE(saved);
    auto [memory, vm] = make_vm();
    X86VcpuState start = place(*memory, note_counter());
    start.tsc = saved;
    auto vcpu = make_vcpu(*vm, start);
    const std::uint64_t before = host_tsc();
    expect_halted(must(vcpu->run()));
    const std::uint64_t after = host_tsc();
    const auto noted = must(memory->read_object<std::uint64_t>(Gpa{2 * kMib}));
    const CounterRelation relation = must(vcpu->counter_relation());
    const auto host = host_counter_at(noted, relation);
    ASSERT_TRUE(host);
    EXPECT_GE(host->value + host->error_ticks, before) << noted;
    EXPECT_LE(host->value - host->error_ticks, after) << noted;
    if (is_pvm()) {
      EXPECT_EQ(relation, kSameCounter) << "whatever KVM says of an offset";
    }
  }
}

TEST_F(GuestCounterTest, OnlyItsOwnThreadMayAsk) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, note_counter()));
  std::thread([&vcpu] {
    EXPECT_EQ(vcpu->counter_relation().error().code, Errc::kInvalidArgument);
  }).join();
}

// Raw KVM, without this project's vCPU around it.
class KvmCounterTest : public GuestCounterTest {
 protected:
  void SetUp() override {
    GuestCounterTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    facts_ = must(HostFacts::open(options_.device_path));
    vm_.emplace(UniqueFd(must(facts_->system().call(kCreateVm, 0))));
    vcpu_.emplace(UniqueFd(must(vm_->call(kCreateVcpu, 0))));
  }
  [[nodiscard]] const KvmFd& vcpu() const { return *vcpu_; }

 private:
  std::shared_ptr<HostFacts> facts_;
  std::optional<KvmFd> vm_;
  std::optional<KvmFd> vcpu_;
};

TEST_F(KvmCounterTest, TheBracketHoldsTheHostsCounterOfThatMoment) {
  const std::uint64_t before = host_tsc();
  const CounterRelation relation = must(bracket_tsc(vcpu(), 7, 9));
  const std::uint64_t after = host_tsc();
  EXPECT_GE(relation.host, before);
  EXPECT_LE(relation.host, after);
  EXPECT_LE(relation.error_ticks, after - before);
  EXPECT_EQ(relation.guest_khz, 7U);
  EXPECT_EQ(relation.host_khz, 9U);
}

TEST_F(KvmCounterTest, OffsetAndBracketAgree) {
  const std::optional<std::uint64_t> offset = tsc_offset(vcpu());
  if (!offset) {
    return;  // Linux before 5.16: the bracket is all there is.
  }
  const CounterRelation bracket = must(bracket_tsc(vcpu(), 1, 1));
  const auto exact = host_counter_at(bracket.guest, relation_of_offset(*offset));
  ASSERT_TRUE(exact);
  EXPECT_GE(exact->value, bracket.host - bracket.error_ticks);
  EXPECT_LE(exact->value, bracket.host + bracket.error_ticks);
}

TEST_F(KvmCounterTest, AnUnscaledCounterIsAskedForItsOffsetAndAScaledOneIsBracketed) {
  const CounterRelation plain = must(read_counter_relation(vcpu(), 0));
  EXPECT_EQ(plain.guest_khz, plain.host_khz);
  if (const std::optional<std::uint64_t> offset = tsc_offset(vcpu())) {
    EXPECT_EQ(plain, relation_of_offset(*offset));
  }
  const auto khz = static_cast<std::uint32_t>(must(vcpu().call(kGetTscKhz, 0)));
  const CounterRelation scaled = must(read_counter_relation(vcpu(), 2 * khz));
  EXPECT_EQ(scaled.guest_khz, khz);
  EXPECT_EQ(scaled.host_khz, 2 * khz);
  EXPECT_GT(scaled.host, 0U);
}

TEST_F(KvmCounterTest, ADescriptorThatIsNoVcpuIsRefusedNamingTheRequest) {
  const KvmFd file{UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))};
  EXPECT_FALSE(tsc_offset(file));
  for (const auto& refused : {bracket_tsc(file, 1, 1), read_counter_relation(file, 0)}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    EXPECT_THAT(refused.error().message, testing::HasSubstr("KVM_GET_"));
  }
}

}  // namespace
}  // namespace stasis::kvm
