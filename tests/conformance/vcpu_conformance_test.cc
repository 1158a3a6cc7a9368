// What every backend's vCPU does: exits, cancellation, state, threads.
#include <array>
#include <random>
#include <string>

#include "tests/conformance/conformance_fixture.h"

namespace stasis::conformance {
namespace {

class VcpuConformance : public ConformanceTest {};

INSTANTIATE_TEST_SUITE_P(Backend, VcpuConformance, testing::ValuesIn(backend_cases()),
                         name_of_case);

// What may differ between two saves of one untouched vCPU: the host's clocks.
VcpuState without_clocks(VcpuState state) {
  if (auto* x86 = std::get_if<X86VcpuState>(&state)) {
    x86->tsc = 0;
    x86->msrs.clear();
  }
  return state;
}

TEST_P(VcpuConformance, ReportsLeaveTheGuestInOrderThenItHalts) {
  TestVm vm = make_vm();
  const std::array<std::uint32_t, 3> values = {7, 0xffffffff, 0};
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().report_values(*vm.memory, 0, values)));
  const Outcome outcome = run_to_end(*vcpu);
  EXPECT_THAT(outcome.reports, testing::ElementsAre(7U, 0xffffffffU, 0U));
  expect_finished(outcome);
}

TEST_P(VcpuConformance, ADeviceReadGetsTheLowBytesOfItsAnswer) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().read_device(*vm.memory, 0, kDataBegin)));
  const VcpuExit exit = must(vcpu->run());
  const auto* read = std::get_if<ExitIoRead>(&exit);
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->access, kit().report());
  must(vcpu->complete_read(0x1122334455667788));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vm.memory, kDataBegin), 0x55667788U);
}

TEST_P(VcpuConformance, AnAnswerThatNobodyWaitsForIsRefused) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().finish(*vm.memory, 0)));
  const Result<void> refused = vcpu->complete_read(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
}

TEST_P(VcpuConformance, TheHostSeesWhatTheGuestWritesAndTheOtherWayRound) {
  TestVm vm = make_vm();
  const Gpa from = data_page(1).begin + 16;
  const Gpa to = data_page(2).begin + 24;
  must(vm.memory->write_object<std::uint64_t>(from, 0xfeedfacecafebeef));
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().copy(*vm.memory, 0, from, to)));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(must(vm.memory->read_object<std::uint64_t>(to)), 0xfeedfacecafebeefU);
}

TEST_P(VcpuConformance, StoresOfEveryWidthAndAlignmentReachMemory) {
  TestVm vm = make_vm();
  std::vector<Store> stores;
  std::vector<std::uint8_t> expected(4 * page());
  std::mt19937_64 random(1);
  for (const std::uint8_t width : std::array<std::uint8_t, 4>{1, 2, 4, 8}) {
    for (std::uint64_t shift = 0; shift < 8; ++shift) {
      // Around the end of a page, so that some cross it.
      const std::uint64_t offset = page() - 16 + shift + 2 * width;
      stores.push_back({kDataBegin + offset, width, random()});
      for (std::uint64_t i = 0; i < width; ++i) {
        expected[offset + i] = static_cast<std::uint8_t>(stores.back().value >> (8 * i));
      }
    }
  }
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().store(*vm.memory, 0, stores)));
  expect_finished(run_to_end(*vcpu));
  std::vector<std::uint8_t> found(expected.size());
  must(vm.memory->read(kDataBegin, std::as_writable_bytes(std::span(found))));
  EXPECT_EQ(found, expected);
}

TEST_P(VcpuConformance, AGuestThatCannotGoOnFailsWithAReason) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().fail(*vm.memory, 0)));
  const Outcome outcome = run_to_end(*vcpu);
  ASSERT_TRUE(outcome.other.has_value());
  const auto* failed = std::get_if<ExitFailed>(&*outcome.other);
  ASSERT_NE(failed, nullptr);
  EXPECT_FALSE(failed->reason.empty());
}

TEST_P(VcpuConformance, RequestsBeforeRunCancelTheNextRunOnce) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().finish(*vm.memory, 0)));
  vcpu->request_exit();
  vcpu->request_exit();
  EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
  expect_finished(run_to_end(*vcpu));
}

TEST_P(VcpuConformance, ARequestFromAnotherThreadGetsARunningVcpuOut) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().count_forever(*vm.memory, 0, kDataBegin)));
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t before = peek(*vm.memory, kDataBegin);
    std::thread requester([&] {
      wait_for_change(*vm.memory, kDataBegin, before);  // It is in the guest.
      vcpu->request_exit();
    });
    EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
    requester.join();
    EXPECT_GT(peek(*vm.memory, kDataBegin), before);
  }
}

TEST_P(VcpuConformance, ASavedStateEqualsTheLoadedOne) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().finish(*vm.memory, 0)));
  const VcpuState first = must(vcpu->save_state());
  EXPECT_EQ(architecture_of(first), capabilities().architecture);
  must(vcpu->load_state(first));
  EXPECT_EQ(without_clocks(must(vcpu->save_state())), without_clocks(first));
}

TEST_P(VcpuConformance, AComputationGoesOnInAnotherVmWhereItWasSaved) {
  // Long enough to be caught in the middle.
  const std::uint64_t rounds = capabilities().instruction_budget ? 100'000 : 100'000'000;
  VcpuState saved;
  std::vector<std::byte> bytes(kKitBytes + kDataBytes);
  {
    TestVm vm = make_vm();
    const auto vcpu =
        make_vcpu(*vm.vm, 0, must(kit().compute(*vm.memory, 0, kDataBegin, 5, rounds)));
    std::thread requester([&] {
      wait_for_change(*vm.memory, kDataBegin, 0);
      vcpu->request_exit();
    });
    EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
    requester.join();
    saved = must(vcpu->save_state());
    must(vm.memory->read(kKitBegin, bytes));
    ASSERT_NE(peek(*vm.memory, kDataBegin), computed(5, rounds));
  }
  TestVm vm = make_vm();
  must(vm.memory->write(kKitBegin, bytes));
  const auto vcpu = make_vcpu(*vm.vm, 0, saved);
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vm.memory, kDataBegin), computed(5, rounds));
}

TEST_P(VcpuConformance, SavingAfterAReportCompletesItsInstruction) {
  const std::array<std::uint32_t, 2> values = {1, 2};
  VcpuState saved;
  std::vector<std::byte> bytes(kKitBytes);
  {
    TestVm vm = make_vm();
    const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().report_values(*vm.memory, 0, values)));
    EXPECT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
    saved = must(vcpu->save_state());
    must(vm.memory->read(kKitBegin, bytes));
  }
  TestVm vm = make_vm();
  must(vm.memory->write(kKitBegin, bytes));
  const auto vcpu = make_vcpu(*vm.vm, 0, saved);
  const Outcome outcome = run_to_end(*vcpu);
  EXPECT_THAT(outcome.reports, testing::ElementsAre(2U)) << "the report was repeated or lost";
  expect_finished(outcome);
}

TEST_P(VcpuConformance, SavingAfterAnAnsweredReadKeepsTheAnswer) {
  VcpuState saved;
  std::vector<std::byte> bytes(kKitBytes);
  {
    TestVm vm = make_vm();
    const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().read_device(*vm.memory, 0, kDataBegin)));
    EXPECT_TRUE(std::holds_alternative<ExitIoRead>(must(vcpu->run())));
    must(vcpu->complete_read(0xabcd));
    saved = must(vcpu->save_state());
    must(vm.memory->read(kKitBegin, bytes));
  }
  TestVm vm = make_vm();
  must(vm.memory->write(kKitBegin, bytes));
  const auto vcpu = make_vcpu(*vm.vm, 0, saved);
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vm.memory, kDataBegin), 0xabcdU);
}

TEST_P(VcpuConformance, AStateOfAnotherArchitectureIsAMismatch) {
  TestVm vm = make_vm();
  const auto vcpu = must(vm.vm->create_vcpu(0));
  const VcpuState other = capabilities().architecture == Architecture::kToy
                              ? VcpuState(X86VcpuState{})
                              : VcpuState(ToyVcpuState{});
  const Result<void> refused = vcpu->load_state(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
}

TEST_P(VcpuConformance, TheInstructionBudgetIsExactOrRefused) {
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().count_forever(*vm.memory, 0, kDataBegin)));
  if (!capabilities().instruction_budget) {
    const Result<VcpuExit> refused = vcpu->run_for(10);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    return;
  }
  for (const std::uint64_t budget : {0U, 1U, 7U, 1000U}) {
    const std::uint64_t before = vcpu->instructions_retired();
    EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run_for(budget))));
    EXPECT_EQ(vcpu->instructions_retired() - before, budget);
  }
}

TEST_P(VcpuConformance, AForeignThreadIsRefusedWhereTheBackendChecks) {
  EXPECT_TRUE(capabilities().vcpu_is_thread_affine);
  if (capabilities().kind == BackendKind::kKvm) {
    return;  // KVM tolerates it (Documentation/virt/kvm/api.rst, 2), so there is nothing to see.
  }
  TestVm vm = make_vm();
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().finish(*vm.memory, 0)));
  std::thread([&] {
    const Result<VcpuExit> refused = vcpu->run();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, testing::HasSubstr("thread"));
    EXPECT_FALSE(vcpu->save_state());
    vcpu->request_exit();  // The one call that is free.
  }).join();
  EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
  expect_finished(run_to_end(*vcpu));
}

}  // namespace
}  // namespace stasis::conformance
