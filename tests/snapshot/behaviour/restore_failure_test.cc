// What cannot be restored is refused with its reason, and nothing is left of the attempt.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mock/mock_backend.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot {
namespace {

using testing::capture_options;
using testing::Format;
using ::testing::HasSubstr;
using testing::make_toy_bus;
using testing::make_toy_machine;
using testing::observe;
using testing::restore_toy;
using testing::TemporaryDirectory;
using testing::ToyConfig;
using testing::ToyMachine;

// ---- Requirements ----

struct Requirements {
  Manifest manifest;
  Capabilities capabilities;
};

Requirements fitting() {
  Requirements r;
  r.manifest.architecture = r.capabilities.architecture = Architecture::kToy;
  r.manifest.page_size_bytes = 4096;
  r.capabilities.page_size_bytes = 4096;
  r.capabilities.vcpus_max = 4;
  r.capabilities.host_vcpus_max = 4;
  r.manifest.clock_policy = r.capabilities.clock_policy = ClockPolicy::kInstructions;
  r.manifest.machine.vcpus = {ToyVcpuState{}, ToyVcpuState{}};
  r.manifest.machine.devices = {{"output", 1, {}}};
  r.manifest.cpu_features = {"aes", "avx"};
  r.capabilities.cpu_features = {"aes", "avx", "avx2"};
  return r;
}

void expect_mismatch(const Requirements& r, const std::vector<std::string>& words) {
  const auto bus = make_toy_bus();
  const auto result = check_requirements(r.manifest, r.capabilities, *bus.bus, CpuCheck::kEnforce);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kMismatch);
  for (const std::string& word : words) {
    EXPECT_THAT(result.error().message, HasSubstr(word));
  }
}

TEST(Requirements, AreMetByTheHostThatSavedTheSnapshot) {
  const Requirements r = fitting();
  const auto bus = make_toy_bus();
  EXPECT_TRUE(check_requirements(r.manifest, r.capabilities, *bus.bus, CpuCheck::kEnforce));
}

TEST(Requirements, NameEveryMissingCpuFeatureAndNoOther) {
  Requirements r = fitting();
  r.manifest.cpu_features = {"avx512f", "aes", "amx_tile"};
  EXPECT_EQ(missing_cpu_features(r.manifest, r.capabilities),
            (std::vector<std::string>{"amx_tile", "avx512f"}));
  expect_mismatch(r, {"amx_tile, avx512f;"});
  const auto bus = make_toy_bus();
  EXPECT_TRUE(check_requirements(r.manifest, r.capabilities, *bus.bus, CpuCheck::kIgnore));
}

TEST(Requirements, NameBothArchitectures) {
  Requirements r = fitting();
  r.manifest.architecture = Architecture::kArm64;
  expect_mismatch(
      r, {std::string(name_of(Architecture::kArm64)), std::string(name_of(Architecture::kToy))});
  r = fitting();
  r.manifest.machine.vcpus[1] = X86VcpuState{};
  expect_mismatch(r, {std::string(name_of(Architecture::kX86_64))});
}

TEST(Requirements, NameBothPageSizes) {
  Requirements r = fitting();
  r.manifest.page_size_bytes = 16384;
  expect_mismatch(r, {"16384", "4096"});
}

TEST(Requirements, NameTheLimitOfVcpus) {
  Requirements r = fitting();
  r.manifest.machine.vcpus.resize(5, ToyVcpuState{});
  expect_mismatch(r, {"5 vCPUs", "1 to 4", "32"});
  r.manifest.machine.vcpus.clear();
  expect_mismatch(r, {"0 vCPUs"});
}

TEST(Requirements, NameTheDeviceThatDiffers) {
  Requirements r = fitting();
  r.manifest.machine.devices.clear();
  expect_mismatch(r, {"'none'", "'output'"});
  r.manifest.machine.devices = {{"doorbell", 1, {}}};
  expect_mismatch(r, {"'doorbell'", "'output'"});
}

TEST(Requirements, RefuseAGuestThatCountsOnAContinuousClock) {
  Requirements r = fitting();
  r.capabilities.clock_policy = ClockPolicy::kHostCounter;
  expect_mismatch(r, {std::string(name_of(ClockPolicy::kInstructions)),
                      std::string(name_of(ClockPolicy::kHostCounter))});
  std::swap(r.capabilities.clock_policy, r.manifest.clock_policy);
  const auto bus = make_toy_bus();
  EXPECT_TRUE(check_requirements(r.manifest, r.capabilities, *bus.bus, CpuCheck::kEnforce));
}

// ---- Backends that fail ----

enum class FailAt { kNever, kCreateVm, kMap, kCreateVcpu, kLoadState };

Error injected() {
  return Error{Errc::kBackend, 7, "injected failure"};
}

class FailingVcpu final : public Vcpu {
 public:
  FailingVcpu(std::unique_ptr<Vcpu> inner, FailAt at) : inner_(std::move(inner)), at_(at) {}
  Result<VcpuExit> run() override { return inner_->run(); }
  Result<VcpuExit> run_for(std::uint64_t n) override { return inner_->run_for(n); }
  Result<void> complete_read(std::uint64_t value) override { return inner_->complete_read(value); }
  [[nodiscard]] Result<VcpuState> save_state() override { return inner_->save_state(); }
  Result<void> load_state(const VcpuState& state) override {
    return at_ == FailAt::kLoadState ? Result<void>(injected()) : inner_->load_state(state);
  }
  [[nodiscard]] std::uint64_t instructions_retired() const override {
    return inner_->instructions_retired();
  }
  void request_exit() noexcept override { inner_->request_exit(); }

 private:
  std::unique_ptr<Vcpu> inner_;
  FailAt at_;
};

class FailingVm final : public Vm {
 public:
  FailingVm(std::unique_ptr<Vm> inner, FailAt at) : inner_(std::move(inner)), at_(at) {}
  Result<void> map(GuestMemory& memory, Access access) override {
    return at_ == FailAt::kMap ? Result<void>(injected()) : inner_->map(memory, access);
  }
  Result<void> protect(std::span<const GpaRange> ranges, Access access) override {
    return inner_->protect(ranges, access);
  }
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override {
    if (at_ == FailAt::kCreateVcpu && index == 1) {
      return injected();
    }
    STASIS_ASSIGN(auto vcpu, inner_->create_vcpu(index));
    // The last vCPU only: the others have succeeded by then, or are about to.
    const FailAt at = index == 1 ? at_ : FailAt::kNever;
    return std::unique_ptr<Vcpu>(std::make_unique<FailingVcpu>(std::move(vcpu), at));
  }
  DirtyLog* dirty_log(DirtyLogKind kind) override { return inner_->dirty_log(kind); }

 private:
  std::unique_ptr<Vm> inner_;
  FailAt at_;
};

// The mock, allowed one VM at a time, so that a VM that is left behind is noticed.
class FailingBackend final : public HypervisorBackend {
 public:
  explicit FailingBackend(FailAt at) : at_(at) {
    mock::MockOptions options;
    options.vms_per_process = 1;
    inner_ = *mock::make_mock_backend(options);
  }
  [[nodiscard]] std::string_view name() const override { return inner_->name(); }
  [[nodiscard]] const Capabilities& capabilities() const override { return inner_->capabilities(); }
  Result<std::unique_ptr<Vm>> create_vm(const VmConfig& config) override {
    if (at_ == FailAt::kCreateVm) {
      return injected();
    }
    STASIS_ASSIGN(auto vm, inner_->create_vm(config));
    return std::unique_ptr<Vm>(std::make_unique<FailingVm>(std::move(vm), at_));
  }
  void succeed_from_now_on() { at_ = FailAt::kNever; }

 private:
  std::unique_ptr<HypervisorBackend> inner_;
  FailAt at_;
};

class DamagedSnapshotTest : public ::testing::Test {
 protected:
  // A snapshot with two vCPUs in `format`; returns its path.
  std::string save(const Format& format, const std::string& name = "snap") {
    ToyConfig config;
    config.vcpus = 2;
    toy_.machine.reset();  // Before the backend that its VM belongs to.
    toy_ = make_toy_machine(config);
    EXPECT_TRUE(toy_.machine->step(3000));
    const std::string path = directory_.path(name);
    const auto report =
        capture_full(*toy_.machine, posix_file_system(), path, capture_options(format));
    EXPECT_TRUE(report) << report.error().to_string();
    hash_ = testing::memory_hash(toy_.machine->memory());
    return path;
  }

  // Changes one byte in the middle of the payload's stored bytes.
  static void flip_byte(const std::string& snapshot) {
    const auto chain = *SnapshotChain::open(posix_file_system(), snapshot);
    std::uint64_t offset = 0;
    const auto table = *chain->leaf().read_index();
    offset = table.chunks.at(table.chunks.size() / 2).file_offset + 5;
    std::fstream file(snapshot + "/memory", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 0x40));
    ASSERT_TRUE(file.good());
  }

  TemporaryDirectory directory_;
  ToyMachine toy_;
  std::uint64_t hash_ = 0;
};

TEST_F(DamagedSnapshotTest, LeavesNoVmBehindWhereverTheBackendFails) {
  const std::string path = save({});
  for (const FailAt at :
       {FailAt::kCreateVm, FailAt::kMap, FailAt::kCreateVcpu, FailAt::kLoadState}) {
    for (const char* policy : {"eager", "lazy"}) {
      SCOPED_TRACE(static_cast<int>(at));
      FailingBackend backend(at);
      const auto failed = restore_toy(path, backend, policy);
      ASSERT_FALSE(failed);
      EXPECT_EQ(failed.error().code, Errc::kBackend);
      EXPECT_THAT(failed.error().message, HasSubstr("injected failure"));
      EXPECT_THAT(failed.error().message, HasSubstr(path));
      backend.succeed_from_now_on();
      const auto restored = restore_toy(path, backend, policy);
      EXPECT_TRUE(restored) << restored.error().to_string();
    }
  }
}

TEST_F(DamagedSnapshotTest, CreatesNoVmForASnapshotThatDoesNotFit) {
  const std::string path = save({});
  // Would say "injected failure" if it were asked for a VM.
  FailingBackend backend(FailAt::kCreateVm);
  const auto chain = *SnapshotChain::open(posix_file_system(), path);
  const PlanInput input = plan_input(*chain);
  const RestorePlan plan = *make_plan("eager", input);
  const auto result = restore(*chain, input, plan, backend, std::make_unique<DeviceBus>(), {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kMismatch);
}

TEST_F(DamagedSnapshotTest, EndsWhenTheOwnersPreparationFails) {
  const std::string path = save({});
  FailingBackend backend(FailAt::kCreateVm);
  RestoreOptions options;
  options.before_start = [](GuestMemory&, MachineState&) -> Result<void> {
    return Error{Errc::kInvalidArgument, 0, "request too long"};
  };
  const auto result = restore_toy(path, backend, "lazy", {}, options);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("request too long"));
}

TEST_F(DamagedSnapshotTest, ShowsTheGuestWhatTheOwnerPreparedAndRecordsMilestones) {
  const std::string path = save({});
  FailingBackend backend(FailAt::kNever);
  MilestoneLog milestones;
  milestones.record(Milestone::kBegin);
  RestoreOptions options;
  options.milestones = &milestones;
  options.before_start = [](GuestMemory& memory, MachineState& state) -> Result<void> {
    std::get<ToyVcpuState>(state.vcpus.at(0)).r[7] = 4711;
    return memory.write_object(Gpa{std::uint64_t{64} << 20U}, std::uint64_t{815});
  };
  auto restored = restore_toy(path, backend, "lazy", {}, options);
  ASSERT_TRUE(restored) << restored.error().to_string();
  EXPECT_EQ(*restored->machine->memory().read_object<std::uint64_t>(Gpa{std::uint64_t{64} << 20U}),
            815U);
  EXPECT_EQ(std::get<ToyVcpuState>(restored->machine->save_state()->vcpus.at(0)).r[7], 4711U);
  for (const Milestone milestone :
       {Milestone::kPrefetched, Milestone::kVmCreated, Milestone::kMapped, Milestone::kState}) {
    EXPECT_TRUE(milestones.since_begin(milestone).has_value()) << name_of(milestone);
  }
}

TEST_F(DamagedSnapshotTest, IsRefusedByEagerRestoreWithFileAndGuestAddress) {
  for (const Format& format : {Format{Layout::kMappable, Codec::kNone, 64U << 10U},
                               Format{Layout::kPacked, Codec::kNone, 4096},
                               Format{Layout::kPacked, Codec::kLz4, 64U << 10U}}) {
    for (const std::uint32_t threads : {1U, 2U}) {
      const std::string path =
          save(format, std::to_string(format.chunk_bytes) + std::string(name_of(format.layout)) +
                           std::string(name_of(format.codec)) + std::to_string(threads));
      flip_byte(path);
      PolicyOptions options;
      options.threads = threads;
      FailingBackend backend(FailAt::kCreateVm);  // It must not come that far.
      const auto result = restore_toy(path, backend, "eager", options);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, Errc::kCorruption) << result.error().to_string();
      EXPECT_THAT(result.error().message, HasSubstr(path + "/memory"));
      EXPECT_THAT(result.error().message, HasSubstr("guest memory [0x"));
    }
  }
}

TEST_F(DamagedSnapshotTest, GoesUnnoticedByLazyAndByUncheckedRestoreAsDocumented) {
  const std::string path = save({});
  flip_byte(path);
  PolicyOptions unchecked;
  unchecked.verify = Verify::kOff;
  for (const char* policy : {"eager", "lazy"}) {
    auto restored = restore_toy(path, *toy_.backend, policy, unchecked);
    ASSERT_TRUE(restored) << restored.error().to_string();
    EXPECT_NE(testing::memory_hash(restored->machine->memory()), hash_);
  }
  EXPECT_TRUE(restore_toy(path, *toy_.backend, "lazy"));
}

TEST_F(DamagedSnapshotTest, IsNoticedByLazyRestoreInWhatItReads) {
  const std::string path = save({Layout::kPacked, Codec::kLz4, 64U << 10U});
  flip_byte(path);
  const auto result = restore_toy(path, *toy_.backend, "lazy");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kCorruption);
}

TEST_F(DamagedSnapshotTest, IsRefusedWhenItsPayloadIsCutBeforeItIsOpened) {
  const std::string path = save({});
  std::filesystem::resize_file(path + "/memory",
                               std::filesystem::file_size(path + "/memory") - 4096);
  for (const char* policy : {"eager", "lazy"}) {
    const auto result = restore_toy(path, *toy_.backend, policy);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::kCorruption) << result.error().to_string();
    EXPECT_THAT(result.error().message, HasSubstr("memory"));
  }
}

TEST_F(DamagedSnapshotTest, IsRefusedWhenItsPayloadIsCutWhileItIsOpen) {
  for (const Format& format : {Format{Layout::kMappable, Codec::kNone, 64U << 10U},
                               Format{Layout::kPacked, Codec::kLz4, 64U << 10U}}) {
    const std::string path = save(format, std::string(name_of(format.layout)));
    const auto chain = *SnapshotChain::open(posix_file_system(), path);
    std::filesystem::resize_file(path + "/memory", 8192);
    for (const char* policy : {"eager", "lazy"}) {
      const PlanInput input = plan_input(*chain);
      const RestorePlan plan = *make_plan(policy, input);
      const auto result =
          restore(*chain, input, plan, *toy_.backend, std::move(make_toy_bus().bus), {});
      ASSERT_FALSE(result) << policy;  // And not a SIGBUS.
      EXPECT_THAT(result.error().message, HasSubstr(path));
    }
  }
}

// ---- Saves that fail ----

TEST_F(DamagedSnapshotTest, LosesNoDirtyPageWhenADifferentialSaveFails) {
  const std::string base = save({});
  const auto parent = *SnapshotChain::open(posix_file_system(), base);
  for (const char* name : {"protection", "dirty-log", "compare", "userfaultfd"}) {
    SCOPED_TRACE(name);
    auto restored = restore_toy(base, *toy_.backend, "eager");
    ASSERT_TRUE(restored) << restored.error().to_string();
    Machine& machine = *restored->machine;
    auto tracker = make_tracker(name, machine);
    if (!tracker) {
      EXPECT_EQ(tracker.error().code, Errc::kNotSupported) << tracker.error().to_string();
      continue;
    }
    DirtyAccumulator dirty(machine, **tracker);
    ASSERT_TRUE(dirty.arm());
    ASSERT_TRUE(machine.step(100));
    // Fails after the dirty pages were collected.
    const std::atomic<bool> cancel = true;
    CaptureOptions options = capture_options({}, parent.get());
    options.writer.supervision.cancel = &cancel;
    const std::string target = directory_.path(std::string("diff-") + name);
    const auto failed = capture_diff(machine, dirty, posix_file_system(), target, options);
    ASSERT_FALSE(failed);
    EXPECT_FALSE(std::filesystem::exists(target));
    EXPECT_GT(total_bytes(dirty.unsaved()), 0U);

    ASSERT_TRUE(machine.step(100));
    const auto report = capture_diff(machine, dirty, posix_file_system(), target,
                                     capture_options({}, parent.get()));
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(total_bytes(dirty.unsaved()), 0U);
    const auto again = restore_toy(target, *toy_.backend, "eager");
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(observe(*again->machine, *again->output), observe(machine, *restored->output));
  }
}

TEST_F(DamagedSnapshotTest, RefusesToSaveARunningMachineOrWithTheWrongKindOfParent) {
  const std::string base = save({});
  const auto parent = *SnapshotChain::open(posix_file_system(), base);
  const auto tracker = *make_tracker("compare", *toy_.machine);
  DirtyAccumulator dirty(*toy_.machine, *tracker);
  ASSERT_TRUE(dirty.arm());
  const std::string target = directory_.path("refused");
  EXPECT_EQ(
      capture_full(*toy_.machine, posix_file_system(), target, capture_options({}, parent.get()))
          .error()
          .code,
      Errc::kInvalidArgument);
  EXPECT_EQ(capture_diff(*toy_.machine, dirty, posix_file_system(), target, capture_options({}))
                .error()
                .code,
            Errc::kInvalidArgument);
  ASSERT_TRUE(toy_.machine->resume());
  EXPECT_EQ(
      capture_full(*toy_.machine, posix_file_system(), target, capture_options({})).error().code,
      Errc::kInvalidArgument);
  ASSERT_TRUE(toy_.machine->pause(std::chrono::seconds(20)));
}

TEST(RequiredCpuFeatures, AreAllVisibleOnesOrThoseWithEnabledState) {
  Capabilities capabilities;
  capabilities.cpu_features = {"avx512f", "aes", "avx", "pku"};
  X86VcpuState x86;
  x86.xcrs = {{0, 0x7}};  // x87, SSE, AVX.
  const std::vector<VcpuState> vcpus = {x86};
  EXPECT_EQ(required_cpu_features(capabilities, vcpus, CpuRequirement::kVisible),
            (std::vector<std::string>{"aes", "avx", "avx512f", "pku"}));
  EXPECT_EQ(required_cpu_features(capabilities, vcpus, CpuRequirement::kStateInUse),
            (std::vector<std::string>{"avx"}));
  x86.xcrs = {{0, 0xe7}};
  EXPECT_EQ(required_cpu_features(capabilities, {vcpus[0], x86}, CpuRequirement::kStateInUse),
            (std::vector<std::string>{"avx", "avx512f"}));
}

}  // namespace
}  // namespace stasis::snapshot
