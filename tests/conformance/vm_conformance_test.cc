// What every backend's VM does: limits, memory, protection, dirty pages, many vCPUs.
#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "core/ranges.h"
#include "tests/conformance/conformance_fixture.h"

namespace stasis::conformance {
namespace {

using testing::HasSubstr;

class VmConformance : public ConformanceTest {
 protected:
  // The pages that `stores` touch.
  [[nodiscard]] GpaRanges pages_of(std::span<const Store> stores) const {
    GpaRanges ranges;
    for (const Store& store : stores) {
      ranges.push_back({store.to, store.width_bytes});
    }
    return align_outward(normalize(ranges), page());
  }
  std::vector<Store> random_stores(std::mt19937_64& random, std::size_t count) {
    std::vector<Store> stores;
    for (std::size_t i = 0; i < count; ++i) {
      const auto width = static_cast<std::uint8_t>(1U << (random() % 4));
      // Half of them near the end of a page, so that crossing ones are common.
      const std::uint64_t in_page =
          random() % 2 == 0 ? random() % page() : page() - 1 - random() % 8;
      const std::uint64_t pages = kDataBytes / page() - 1;
      stores.push_back({data_page(random() % pages).begin + in_page, width, random()});
    }
    return stores;
  }
};

INSTANTIATE_TEST_SUITE_P(Backend, VmConformance, testing::ValuesIn(backend_cases()), name_of_case);

TEST_P(VmConformance, CapabilitiesAreConsistent) {
  const Capabilities& has = capabilities();
  EXPECT_FALSE(backend().name().empty());
  EXPECT_GE(has.vcpus_max, 1U);
  EXPECT_EQ(has.vcpus_max, std::min(kVcpusMax, has.host_vcpus_max));
  EXPECT_TRUE(has.page_size_bytes == 4096 || has.page_size_bytes == 16384);
  EXPECT_TRUE(std::is_sorted(has.cpu_features.begin(), has.cpu_features.end()));
  for (const Availability& note : has.notes) {
    EXPECT_FALSE(note.name.empty());
    EXPECT_EQ(note.reason.empty(), note.available) << note.name;
  }
  TestVm vm = make_vm();
  EXPECT_EQ(vm.vm->dirty_log() != nullptr, has.dirty_page_tracking);
  EXPECT_EQ(vm.vm->dirty_log(DirtyLogKind::kManualClear) != nullptr,
            has.manual_dirty_log.available);
  EXPECT_EQ(vm.vm->dirty_log(DirtyLogKind::kRing), nullptr);
  for (const Availability& log : {has.manual_dirty_log, has.dirty_ring}) {
    EXPECT_EQ(log.reason.empty(), log.available) << log.name;
  }
}

TEST_P(VmConformance, AVmWithRingsKeepsNoOtherLog) {
  const auto made = backend().create_vm({.vcpus = 1, .dirty_ring_entries = kDirtyRingEntriesMin});
  if (!capabilities().dirty_ring.available) {
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Errc::kNotSupported);
    return;
  }
  Vm& vm = **made;
  EXPECT_NE(vm.dirty_log(DirtyLogKind::kRing), nullptr);
  EXPECT_EQ(vm.dirty_log(DirtyLogKind::kBitmap), nullptr);
  EXPECT_EQ(vm.dirty_log(DirtyLogKind::kManualClear), nullptr);
}

TEST_P(VmConformance, TooManyVcpusAreRefusedNamingBothLimits) {
  for (const std::uint32_t vcpus : {0U, capabilities().vcpus_max + 1, UINT32_MAX}) {
    const auto refused = backend().create_vm({.vcpus = vcpus});
    ASSERT_FALSE(refused) << vcpus;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(kVcpusMax)));
    EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(capabilities().host_vcpus_max)));
  }
}

TEST_P(VmConformance, VmsPerProcessIsKept) {
  const std::uint32_t limit = capabilities().vms_per_process;
  std::vector<TestVm> vms;
  for (std::uint32_t i = 0; i < (limit == 0 ? 3 : limit); ++i) {
    vms.push_back(make_vm());
  }
  if (limit != 0) {
    const auto refused = backend().create_vm({});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kBackend);
    vms.pop_back();
    EXPECT_TRUE(backend().create_vm({}));
    return;
  }
  // Independent of each other: the same program leaves its value in its own memory alone.
  const std::array<Store, 1> stores = {{{kDataBegin, 8, 99}}};
  const auto vcpu = make_vcpu(*vms[1].vm, 0, must(kit().store(*vms[1].memory, 0, stores)));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vms[0].memory, kDataBegin), 0U);
  EXPECT_EQ(peek(*vms[1].memory, kDataBegin), 99U);
  EXPECT_EQ(peek(*vms[2].memory, kDataBegin), 0U);
}

TEST_P(VmConformance, MemoryIsMappedOnce) {
  TestVm vm = make_vm();
  const Result<void> refused = vm.vm->map(*vm.memory, Access::kReadWriteExecute);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
}

TEST_P(VmConformance, AVcpuIsCreatedOnceAndWithinTheVm) {
  TestVm vm = make_vm(2);
  const auto first = must(vm.vm->create_vcpu(1));
  for (const std::uint32_t index : {1U, 2U, UINT32_MAX}) {
    const auto refused = vm.vm->create_vcpu(index);
    ASSERT_FALSE(refused) << index;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument) << index;
  }
}

TEST_P(VmConformance, VcpusOnManyThreadsShareMemoryAtomically) {
  const std::uint32_t vcpus = std::min(capabilities().vcpus_max, 8U);
  constexpr std::uint64_t kTimes = 2000;
  const std::unique_ptr<GuestMemory> memory = make_memory();
  std::vector<VcpuState> states;
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    states.push_back(must(kit().add_atomically(*memory, i, kDataBegin, kTimes)));
  }
  const std::unique_ptr<Vm> vm = must(backend().create_vm({.vcpus = vcpus}));
  // Also what core/hypervisor.h promises: creation and loading while another thread maps.
  std::atomic<std::uint32_t> mapped = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    threads.emplace_back([&, i] {
      const auto vcpu = make_vcpu(*vm, i, states[i]);
      mapped.wait(0, std::memory_order_acquire);
      expect_finished(run_to_end(*vcpu));
    });
  }
  must(vm->map(*memory, Access::kReadWriteExecute));
  mapped.store(1, std::memory_order_release);
  mapped.notify_all();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(peek(*memory, kDataBegin), vcpus * kTimes);
}

TEST_P(VmConformance, TheDirtyLogHoldsExactlyTheGuestsWrites) {
  TestVm vm = make_vm();
  DirtyLog* const log = vm.vm->dirty_log();
  if (log == nullptr) {
    EXPECT_FALSE(capabilities().dirty_page_tracking);
    return;
  }
  std::mt19937_64 random(2);
  const auto vcpu = must(vm.vm->create_vcpu(0));
  must(log->start());
  for (int round = 0; round < 20; ++round) {
    const std::vector<Store> stores = random_stores(random, 1 + random() % 40);
    must(vcpu->load_state(must(kit().store(*vm.memory, 0, stores))));
    // A host write, which the log must not hold.
    must(vm.memory->write_object<std::uint64_t>(data_page(kDataBytes / page() - 1).begin, 1));
    expect_finished(run_to_end(*vcpu));
    EXPECT_EQ(intersect(must(log->collect()), {kDataRange}), pages_of(stores)) << "round " << round;
    EXPECT_THAT(intersect(must(log->collect()), {kDataRange}), testing::IsEmpty());
  }
  must(log->stop());
}

TEST_P(VmConformance, ADirtyLogThatStartsAgainIsClean) {
  TestVm vm = make_vm();
  DirtyLog* const log = vm.vm->dirty_log();
  if (log == nullptr) {
    EXPECT_FALSE(capabilities().dirty_page_tracking);
    return;
  }
  const std::array<Store, 1> stores = {{{kDataBegin, 8, 1}}};
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().store(*vm.memory, 0, stores)));
  must(log->start());
  expect_finished(run_to_end(*vcpu));
  must(log->stop());
  must(log->start());
  EXPECT_THAT(intersect(must(log->collect()), {kDataRange}), testing::IsEmpty());
  must(vcpu->load_state(must(kit().store(*vm.memory, 0, stores))));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(intersect(must(log->collect()), {kDataRange}), pages_of(stores));
  must(log->stop());
}

TEST_P(VmConformance, AWriteToAProtectedPageLeavesTheGuestBeforeItHappens) {
  TestVm vm = make_vm();
  const std::array<GpaRange, 1> target = {data_page(3)};
  if (!capabilities().write_protection) {
    const Result<void> refused = vm.vm->protect(target, Access::kReadExecute);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    return;
  }
  const Gpa to = target[0].begin + 40;
  const std::array<Store, 2> stores = {{{to, 8, 0x77}, {data_page(5).begin, 8, 0x88}}};
  must(vm.vm->protect(target, Access::kReadExecute));
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().store(*vm.memory, 0, stores)));
  for (int again = 0; again < 2; ++again) {
    const Outcome outcome = run_to_end(*vcpu);
    ASSERT_TRUE(outcome.other.has_value());
    const auto* fault = std::get_if<ExitWriteProtected>(&*outcome.other);
    ASSERT_NE(fault, nullptr);
    EXPECT_TRUE(target[0].contains(fault->gpa));
    EXPECT_EQ(peek(*vm.memory, to), 0U);
  }
  must(vm.vm->protect(target, Access::kReadWriteExecute));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vm.memory, to), 0x77U);
  EXPECT_EQ(peek(*vm.memory, data_page(5).begin), 0x88U);
}

TEST_P(VmConformance, ACrossingWriteFaultsForEachProtectedPageAndWritesNothingBefore) {
  if (!capabilities().write_protection) {
    GTEST_SUCCEED();  // Refusal is asserted by the test above.
    return;
  }
  TestVm vm = make_vm();
  const Gpa to{data_page(4).begin.value - 4};  // Four bytes in page 3, four in page 4.
  must(vm.memory->write_object<std::uint64_t>(to, 0x1111111111111111));
  const std::array<Store, 1> stores = {{{to, 8, 0x2222222222222222}}};
  const std::array<GpaRange, 2> both = {data_page(3), data_page(4)};
  must(vm.vm->protect(both, Access::kReadExecute));
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().store(*vm.memory, 0, stores)));
  std::vector<Gpa> faults;
  Outcome outcome = run_to_end(*vcpu);
  while (outcome.other && std::holds_alternative<ExitWriteProtected>(*outcome.other)) {
    ASSERT_LT(faults.size(), 2U) << "the same page faults twice";
    const Gpa gpa = std::get<ExitWriteProtected>(*outcome.other).gpa;
    faults.push_back(Gpa{align_down(gpa.value, page())});
    EXPECT_EQ(must(vm.memory->read_object<std::uint64_t>(to)), 0x1111111111111111U);
    must(vm.vm->protect(std::array<GpaRange, 1>{{{faults.back(), page()}}},
                        Access::kReadWriteExecute));
    outcome = run_to_end(*vcpu);
  }
  expect_finished(outcome);
  EXPECT_THAT(faults, testing::UnorderedElementsAre(both[0].begin, both[1].begin));
  EXPECT_EQ(must(vm.memory->read_object<std::uint64_t>(to)), 0x2222222222222222U);
}

TEST_P(VmConformance, AProtectedPageCanBeRead) {
  TestVm vm = make_vm();
  const Gpa from = data_page(1).begin;
  const Gpa to = data_page(2).begin;
  must(vm.memory->write_object<std::uint64_t>(from, 42));
  if (capabilities().write_protection) {
    must(vm.vm->protect(std::array<GpaRange, 1>{data_page(1)}, Access::kReadExecute));
  }
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().copy(*vm.memory, 0, from, to)));
  expect_finished(run_to_end(*vcpu));
  EXPECT_EQ(peek(*vm.memory, to), 42U);
}

TEST_P(VmConformance, AMissingPageIsAskedForWithItsAddress) {
  TestVm vm = make_vm();
  const std::array<GpaRange, 1> missing = {data_page(6)};
  if (!capabilities().postcopy_restore) {
    if (!capabilities().write_protection) {
      const Result<void> refused = vm.vm->protect(missing, Access::kNone);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    }
    return;
  }
  const Gpa inside = missing[0].begin + 8;
  const auto vcpu = must(vm.vm->create_vcpu(0));
  const std::array<Store, 1> stores = {{{inside, 8, 5}}};
  for (const bool is_write : {false, true}) {
    must(vm.vm->protect(missing, Access::kNone));
    must(vcpu->load_state(must(is_write ? kit().store(*vm.memory, 0, stores)
                                        : kit().copy(*vm.memory, 0, inside, kDataBegin))));
    const Outcome outcome = run_to_end(*vcpu);
    ASSERT_TRUE(outcome.other.has_value());
    const auto* fault = std::get_if<ExitMissingPage>(&*outcome.other);
    ASSERT_NE(fault, nullptr);
    EXPECT_TRUE(missing[0].contains(fault->gpa));
    EXPECT_EQ(fault->is_write, is_write);
    must(vm.memory->write_object<std::uint64_t>(inside, 17));
    must(vm.vm->protect(missing, Access::kReadWriteExecute));
    expect_finished(run_to_end(*vcpu));
  }
  EXPECT_EQ(peek(*vm.memory, kDataBegin), 17U);
  EXPECT_EQ(peek(*vm.memory, inside), 5U);
}

TEST_P(VmConformance, ProtectingWhatIsNotMemoryIsRefusedWholly) {
  TestVm vm = make_vm();
  const GpaRange outside{kDataRange.end() + page(), page()};
  const std::array<GpaRange, 2> batch = {data_page(1), outside};
  const Result<void> refused = vm.vm->protect(batch, Access::kReadExecute);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code,
            capabilities().write_protection ? Errc::kOutOfRange : Errc::kNotSupported);
  const std::array<Store, 1> stores = {{{data_page(1).begin, 8, 3}}};
  const auto vcpu = make_vcpu(*vm.vm, 0, must(kit().store(*vm.memory, 0, stores)));
  expect_finished(run_to_end(*vcpu));  // The first range of the batch was not protected.
}

}  // namespace
}  // namespace stasis::conformance
