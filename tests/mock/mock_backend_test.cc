// The rules that the mock enforces beyond what every backend must do.
#include "mock/mock_backend.h"

#include <array>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mock/assembler.h"
#include "tests/support/must.h"

namespace stasis::mock {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;

class MockBackendTest : public testing::Test {
 protected:
  static std::unique_ptr<GuestMemory> make_memory(std::uint64_t page_size_bytes = kPage) {
    const RegionSpec spec{.range = {Gpa{0}, 16 * page_size_bytes}};
    return must(GuestMemory::create({&spec, 1}, page_size_bytes));
  }
  void SetUp() override { must(vm_->map(*memory_, Access::kReadWriteExecute)); }

  std::unique_ptr<HypervisorBackend> backend_ = must(make_mock_backend({}));
  std::unique_ptr<GuestMemory> memory_ = make_memory();
  std::unique_ptr<Vm> vm_ = must(backend_->create_vm({.vcpus = 2}));
};

template <typename T>
void expect_misuse(const Result<T>& result, std::string_view part) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(result.error().message, HasSubstr(std::string(part)));
}

TEST(MockOptions, OddPageSizesAndEmptyHostsAreRefused) {
  expect_misuse(make_mock_backend({.page_size_bytes = 8192}), "4096 or 16384");
  expect_misuse(make_mock_backend({.host_vcpus_max = 0}), "without vCPUs");
}

TEST(MockOptions, AHostWithFewerVcpusIsNamedInTheRefusal) {
  const auto backend = must(make_mock_backend({.host_vcpus_max = 4}));
  EXPECT_EQ(backend->capabilities().vcpus_max, 4U);
  const auto refused = backend->create_vm({.vcpus = 5});
  expect_misuse(refused, "design's limit is 32");
  expect_misuse(refused, "this host's is 4");
}

TEST(MockOptions, AHostWithMoreVcpusIsStillLimitedByTheDesign) {
  const auto backend = must(make_mock_backend({.host_vcpus_max = 1024}));
  EXPECT_EQ(backend->capabilities().vcpus_max, kVcpusMax);
  EXPECT_TRUE(backend->create_vm({.vcpus = 32}));
  expect_misuse(backend->create_vm({.vcpus = 33}), "this host's is 1024");
}

TEST_F(MockBackendTest, MemoryOfAnotherPageSizeIsRefused) {
  const auto vm = must(backend_->create_vm({}));
  const auto memory = make_memory(16384);
  expect_misuse(vm->map(*memory, Access::kReadWriteExecute), "16384");
}

TEST_F(MockBackendTest, NothingRunsOrIsProtectedBeforeMemoryIsMapped) {
  const auto vm = must(backend_->create_vm({}));
  const auto vcpu = must(vm->create_vcpu(0));
  expect_misuse(vcpu->run(), "no memory is mapped");
  expect_misuse(vm->protect({}, Access::kRead), "no memory is mapped");
  expect_misuse(vm->dirty_log()->start(), "no memory is mapped");
}

TEST_F(MockBackendTest, AnUnansweredReadBlocksRunningAndSaving) {
  Assembler code(Gpa{0});
  code.load_imm(R1, std::uint64_t{1} << 32).load(R2, R1, 0, 8).halt();
  must(code.write_to(*memory_));
  const auto vcpu = must(vm_->create_vcpu(0));
  ASSERT_TRUE(std::holds_alternative<ExitIoRead>(must(vcpu->run())));
  expect_misuse(vcpu->run(), "complete_read()");
  expect_misuse(vcpu->save_state(), "unanswered");
  must(vcpu->complete_read(5));
  expect_misuse(vcpu->complete_read(5), "does not wait");
  EXPECT_EQ(std::get<ToyVcpuState>(must(vcpu->save_state())).r[2], 5U);
}

TEST_F(MockBackendTest, EveryCallFromAnotherThreadNamesTheRule) {
  const auto vcpu = must(vm_->create_vcpu(0));
  std::thread([&] {
    expect_misuse(vcpu->run(), "created, used and destroyed on one thread");
    expect_misuse(vcpu->run_for(1), "thread");
    expect_misuse(vcpu->complete_read(1), "thread");
    expect_misuse(vcpu->save_state(), "thread");
    expect_misuse(vcpu->load_state(ToyVcpuState{}), "thread");
  }).join();
}

TEST_F(MockBackendTest, DestroyingAVcpuOnAnotherThreadIsABugOfTheCaller) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto vcpu = must(vm_->create_vcpu(0));
        std::thread([&] { vcpu.reset(); }).join();
      },
      "get_id");
}

TEST_F(MockBackendTest, WhileAVcpuRunsPermissionIsGivenButNotTakenAway) {
  // Counts in page 2 until it is cancelled.
  Assembler code(Gpa{0});
  code.load_imm(R1, 2 * kPage).load_imm(R3, 1);
  const Assembler::Label loop = code.here();
  code.fetch_add(R2, R1, R3).jump(loop);
  must(code.write_to(*memory_));
  const std::array<GpaRange, 1> page = {{{Gpa{3 * kPage}, kPage}}};
  must(vm_->protect(page, Access::kReadExecute));

  std::atomic<Vcpu*> running = nullptr;
  std::thread runner([&] {
    const auto vcpu = must(vm_->create_vcpu(0));
    running = vcpu.get();
    running.notify_all();
    EXPECT_TRUE(std::holds_alternative<ExitCanceled>(must(vcpu->run())));
  });
  running.wait(nullptr);
  auto* const counter =
      reinterpret_cast<std::uint64_t*>(must(memory_->writable_view({Gpa{2 * kPage}, 8})).data());
  while (std::atomic_ref(*counter).load() == 0) {
    std::this_thread::yield();
  }
  expect_misuse(vm_->protect(std::array<GpaRange, 1>{{{Gpa{4 * kPage}, kPage}}}, Access::kRead),
                "taken away");
  expect_misuse(vm_->dirty_log()->start(), "in the guest");
  must(vm_->protect(page, Access::kReadWriteExecute));
  running.load()->request_exit();
  runner.join();
  must(vm_->protect(std::array<GpaRange, 1>{{{Gpa{4 * kPage}, kPage}}}, Access::kRead));
}

TEST_F(MockBackendTest, ProtectionComesInWholePages) {
  expect_misuse(vm_->protect(std::array<GpaRange, 1>{{{Gpa{1}, kPage}}}, Access::kRead),
                "multiple of the page size");
  expect_misuse(vm_->protect(std::array<GpaRange, 1>{{{Gpa{0}, 100}}}, Access::kRead),
                "multiple of the page size");
}

TEST_F(MockBackendTest, TheDirtyLogIsStartedAndStoppedInTurns) {
  DirtyLog& log = *vm_->dirty_log();
  expect_misuse(log.collect(), "not started");
  expect_misuse(log.stop(), "not started");
  must(log.start());
  expect_misuse(log.start(), "started twice");
  must(log.stop());
}

TEST_F(MockBackendTest, TheSameProgramAlwaysEndsInTheSameState) {
  Assembler code(Gpa{0});
  code.load_imm(R1, 2 * kPage).load_imm(R5, 5000).load_imm(R6, 6364136223846793005U);
  const Assembler::Label loop = code.here();
  code.alu(Opcode::kMul, R2, R2, R6).add_imm(R2, R2, 12345).count(R7);
  code.alu(Opcode::kXor, R2, R2, R7).store(R2, R1, 3, 8).add_imm(R5, R5, -1);
  code.branch_not_equal(R5, R0, loop).halt();
  std::vector<VcpuState> ends;
  for (const std::uint64_t slice :
       {std::uint64_t{1} << 40, std::uint64_t{7}, std::uint64_t{1000}}) {
    const auto memory = make_memory();
    must(code.write_to(*memory));
    const auto vm = must(backend_->create_vm({}));
    must(vm->map(*memory, Access::kReadWriteExecute));
    const auto vcpu = must(vm->create_vcpu(0));
    while (!std::holds_alternative<ExitHalted>(must(vcpu->run_for(slice)))) {
    }
    ends.push_back(must(vcpu->save_state()));
    EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{2 * kPage + 3})),
              std::get<ToyVcpuState>(ends.back()).r[2]);
  }
  EXPECT_THAT(ends, testing::Each(ends[0]));
  EXPECT_EQ(std::get<ToyVcpuState>(ends[0]).instructions, 4U + 7 * 5000 + 1);
}

}  // namespace
}  // namespace stasis::mock
