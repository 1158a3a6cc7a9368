// request_exit(), threads, and many vCPUs.
#include <atomic>
#include <string>
#include <thread>

#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

STASIS_X86_CODE(loop, "1: incq (%rbx)\n jmp 1b\n")
STASIS_X86_CODE(add_atomically, "1: lock incq (%rbx)\n dec %rcx\n jnz 1b\n" STASIS_X86_HALT)
STASIS_X86_CODE(out_loop, "mov $0x1f0, %edx\n 1: out %eax, (%dx)\n inc %eax\n jmp 1b\n")

class VcpuCancelTest : public KvmTest {
 protected:
  static std::uint64_t peek(GuestMemory& memory, Gpa gpa) {
    const std::span<std::byte> bytes = must(memory.writable_view({gpa, 8}));
    return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(bytes.data())).load();
  }
  static void wait_for_change(GuestMemory& memory, Gpa gpa) {
    const std::uint64_t before = peek(memory, gpa);
    while (peek(memory, gpa) == before) {
      std::this_thread::yield();
    }
  }
};

TEST_F(VcpuCancelTest, LoopingGuestIsCancelledFromAnotherThreadEveryTime) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, loop());
  start.general.rbx = 2 * kMib;
  constexpr int kTimes = 1000;
  std::atomic<Vcpu*> shared = nullptr;
  std::atomic<int> cancelled = 0;
  std::atomic<bool> may_end = false;
  std::thread owner([&, &vm = *vm] {
    auto vcpu = make_vcpu(vm, start);
    shared = vcpu.get();
    for (int i = 0; i < kTimes; ++i) {
      const VcpuExit exit = must(vcpu->run());
      ASSERT_TRUE(std::holds_alternative<ExitCanceled>(exit)) << failure_of(exit);
      ++cancelled;
      cancelled.notify_all();
    }
    may_end.wait(false);  // The vCPU must outlive the last request_exit().
  });
  while (shared.load() == nullptr) {
    std::this_thread::yield();
  }
  for (int i = 0; i < kTimes; ++i) {
    if (i % 2 == 0) {  // In the guest for certain; otherwise whenever it comes.
      wait_for_change(*memory, Gpa{2 * kMib});
    }
    shared.load()->request_exit();
    while (cancelled.load() == i) {
      cancelled.wait(i);
    }
  }
  may_end = true;
  may_end.notify_all();
  owner.join();
  EXPECT_EQ(cancelled.load(), kTimes);
}

TEST_F(VcpuCancelTest, RequestBeforeRunIsKeptAndSeveralCountOnce) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, out_loop()));
  vcpu->request_exit();
  vcpu->request_exit();
  EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
  EXPECT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  EXPECT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
}

TEST_F(VcpuCancelTest, RequestSurvivesSaveAndLoad) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, out_loop()));
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  vcpu->request_exit();
  const X86VcpuState saved = save(*vcpu);
  must(vcpu->load_state(saved));
  EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
  const VcpuExit next = must(vcpu->run());
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(next));
  EXPECT_EQ(std::get<ExitIoWrite>(next).data, 1U) << "the OUT was neither lost nor repeated";
}

TEST_F(VcpuCancelTest, OtherThreadsAreRefusedButMayRequestAnExit) {
  auto [memory, vm] = make_vm();
  const X86VcpuState start = place(*memory, out_loop());
  auto vcpu = make_vcpu(*vm, start);
  std::thread other([&, &vcpu = *vcpu] {
    EXPECT_EQ(vcpu.run().error().code, Errc::kInvalidArgument);
    EXPECT_EQ(vcpu.save_state().error().code, Errc::kInvalidArgument);
    EXPECT_EQ(vcpu.load_state(start).error().code, Errc::kInvalidArgument);
    EXPECT_EQ(vcpu.complete_read(0).error().code, Errc::kInvalidArgument);
    vcpu.request_exit();
  });
  other.join();
  EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
}

TEST_F(VcpuCancelTest, InstructionBudgetIsRefused) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, out_loop()));
  EXPECT_EQ(vcpu->run_for(1).error().code, Errc::kNotSupported);
}

class ManyVcpusTest : public VcpuCancelTest, public testing::WithParamInterface<std::uint32_t> {};

TEST_P(ManyVcpusTest, AddAtomicallyToOneNumber) {
  const std::uint32_t vcpus = GetParam();
  auto [memory, vm] = make_vm({{Gpa{0}, 4 * kMib}}, vcpus);
  constexpr std::uint64_t kTimes = 20000;
  std::vector<X86VcpuState> states;
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    states.push_back(place(*memory, add_atomically(), i));
    states.back().general.rbx = 2 * kMib;
    states.back().general.rcx = kTimes;
  }
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    threads.emplace_back([&, i, &vm = *vm] {
      auto vcpu = make_vcpu(vm, states[i], i);
      expect_halted(must(vcpu->run()));
      EXPECT_EQ(save(*vcpu).general.rcx, 0U);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(peek(*memory, Gpa{2 * kMib}), kTimes * vcpus);
}
INSTANTIATE_TEST_SUITE_P(Counts, ManyVcpusTest, testing::Values(1U, 2U, 3U, 4U, 32U));

TEST_F(VcpuCancelTest, VmWithAGuestThatLoopsCanBeDestroyedAfterACancel) {
  for (int i = 0; i < 20; ++i) {
    auto [memory, vm] = make_vm({{Gpa{0}, 4 * kMib}}, 2);
    std::atomic<Vcpu*> shared = nullptr;
    std::atomic<bool> may_end = false;
    X86VcpuState start = place(*memory, loop());
    start.general.rbx = 2 * kMib;
    std::thread owner([&, &vm = *vm] {
      auto vcpu = make_vcpu(vm, start);
      shared = vcpu.get();
      EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
      may_end.wait(false);
    });
    wait_for_change(*memory, Gpa{2 * kMib});
    shared.load()->request_exit();
    may_end = true;
    may_end.notify_all();
    owner.join();
  }
}

}  // namespace
}  // namespace stasis::kvm
