// A reset that cannot be done wholly: it says why, and the machine does nothing more until one is.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <ostream>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/snapshot/reset/resettable_toy.h"

namespace stasis::snapshot {
namespace {

namespace fs = std::filesystem;
using testing::apply;
using testing::Format;
using ::testing::HasSubstr;
using testing::make_resettable;
using testing::Observation;
using testing::ResettableToy;
using testing::TemporaryDirectory;
using testing::ToyConfig;

class FailingResetTest : public ::testing::Test {
 protected:
  ResettableToy make(const Format& format, std::string_view policy = "eager") {
    const auto path = testing::save_toy(config_, format, 0, directory_);
    EXPECT_TRUE(path) << path.error().to_string();
    path_ = *path;
    backend_ = testing::make_toy_backend(config_);
    auto toy = make_resettable(path_, *backend_, policy, "dirty-log");
    EXPECT_TRUE(toy) << toy.error().to_string();
    return *std::move(toy);
  }
  [[nodiscard]] std::string payload() const { return path_ + "/memory"; }

  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // In the same file: it is open.
  static void overwrite(const std::string& path, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  // Neither run nor saved, and it says why.
  static void expect_refusal(Machine& machine, const std::string& why) {
    for (const auto& refused :
         {machine.resume(), machine.step(1),
          machine.save_state() ? Result<void>() : Result<void>(machine.save_state().error())}) {
      ASSERT_FALSE(refused);
      EXPECT_THAT(refused.error().message, HasSubstr("was not reset wholly"));
      EXPECT_THAT(refused.error().message, HasSubstr(why));
    }
    EXPECT_TRUE(machine.is_paused());
  }

  ToyConfig config_{.vcpus = 2, .data_pages = 48};
  TemporaryDirectory directory_;
  std::string path_;
  std::unique_ptr<HypervisorBackend> backend_;
};

struct FormatCase {
  const char* name = "";
  Format format;
};

void PrintTo(const FormatCase& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.name;
}

class DamagedPayload : public FailingResetTest, public ::testing::WithParamInterface<FormatCase> {};

TEST_P(DamagedPayload, IsFoundNamedAndNotUsedAndCanBeMended) {
  ResettableToy toy = make(GetParam().format);
  const Observation clean = toy.observe();
  ASSERT_TRUE(apply({.instructions = 600, .seed = 2, .host_writes = 2}, config_, toy.machine()));
  const std::uint64_t ran = testing::memory_hash(toy.machine().memory());
  const std::string good = content(payload());
  std::string bad = good;
  for (std::size_t i = 0; i < bad.size(); i += 64) {
    bad[i] = static_cast<char>(~bad[i]);
  }
  overwrite(payload(), bad);
  const auto failed = toy.resetter->reset();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::kCorruption) << failed.error().to_string();
  EXPECT_THAT(failed.error().message, HasSubstr("reset to '" + path_ + "'"));
  EXPECT_THAT(failed.error().message, HasSubstr(payload()));
  EXPECT_THAT(failed.error().message, HasSubstr("guest memory [0x"));
  EXPECT_EQ(testing::memory_hash(toy.machine().memory()), ran) << "a damaged byte was used";
  expect_refusal(toy.machine(), payload());
  EXPECT_FALSE(toy.resetter->reset()) << "it is as damaged as before";
  overwrite(payload(), good);
  const auto mended = toy.resetter->reset();
  ASSERT_TRUE(mended) << mended.error().to_string();
  EXPECT_GT(mended->dirty_bytes, 0U) << "what the failed ones collected";
  EXPECT_EQ(toy.observe(), clean);
  EXPECT_TRUE(toy.machine().step(10));
}

INSTANTIATE_TEST_SUITE_P(
    OfEveryKind, DamagedPayload,
    ::testing::Values(FormatCase{"Mapped", {}},
                      FormatCase{"Packed", {Layout::kPacked, Codec::kNone, 4096}},
                      FormatCase{"Compressed", {Layout::kPacked, Codec::kLz4, 64U << 10U}}),
    [](const auto& parameter) { return std::string(parameter.param.name); });

TEST_F(FailingResetTest, ATruncatedPayloadIsNamed) {
  ResettableToy toy = make({Layout::kPacked, Codec::kNone, 16U << 10U});
  ASSERT_TRUE(toy.machine().step(600));
  fs::resize_file(payload(), 0);
  const auto failed = toy.resetter->reset();
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr(payload() + "' ends at byte "));
  expect_refusal(toy.machine(), payload());
}

// What nobody wrote has gone as well, and no reset brings it back.
TEST_F(FailingResetTest, APayloadThatIsTruncatedUnderItsGuestEndsIt) {
  ResettableToy toy = make({}, "lazy");
  ASSERT_TRUE(toy.machine().step(600));
  ASSERT_TRUE(toy.resetter->reset()) << "all that the same run needs is held now";
  ASSERT_TRUE(toy.machine().step(600));
  const auto size = fs::file_size(payload());
  fs::resize_file(payload(), 0);
  for (int i = 0; i < 2; ++i) {
    const auto failed = toy.resetter->reset();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::kIo) << failed.error().to_string();
    expect_refusal(toy.machine(), "cut short");
  }
  fs::resize_file(payload(), size);
}

TEST_F(FailingResetTest, ASnapshotThatWasRemovedCanStillBeResetTo) {
  ResettableToy toy = make({Layout::kPacked, Codec::kLz4, 64U << 10U});
  const Observation clean = toy.observe();
  ASSERT_TRUE(toy.machine().step(600));
  fs::remove_all(path_);
  const auto reset = toy.resetter->reset();
  ASSERT_TRUE(reset) << reset.error().to_string();
  EXPECT_EQ(toy.observe(), clean);
}

TEST_F(FailingResetTest, ARunningMachineIsLeftAlone) {
  ResettableToy toy = make({});
  ASSERT_TRUE(toy.machine().resume());
  const auto refused = toy.resetter->reset();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("pause it first"));
  ASSERT_TRUE(toy.machine().pause(std::chrono::seconds(20)));
  EXPECT_TRUE(toy.machine().step(10)) << "it goes on";
}

TEST_F(FailingResetTest, ASnapshotOfAnotherMachineIsRefused) {
  const ResettableToy toy = make({});
  for (const ToyConfig& other :
       {ToyConfig{.vcpus = 1, .data_pages = 48}, ToyConfig{.vcpus = 2, .data_pages = 49},
        ToyConfig{.page_size_bytes = 16384, .vcpus = 2, .data_pages = 12}}) {
    const TemporaryDirectory directory;
    const auto path = testing::save_toy(other, {}, 0, directory);
    ASSERT_TRUE(path) << path.error().to_string();
    const auto chain = *SnapshotChain::open(posix_file_system(), *path);
    const auto refused = Resetter::create(toy.machine(), *toy.dirty, *chain);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kMismatch);
    EXPECT_THAT(refused.error().message, HasSubstr(*path));
  }
}

// Fails a collection, or what it is to overlook, once.
class MoodyTracker final : public DirtyTracker {
 public:
  enum class Fails : std::uint8_t { kNothing, kCollect, kOverlook };
  explicit MoodyTracker(std::unique_ptr<DirtyTracker> honest) : honest_(std::move(honest)) {}
  [[nodiscard]] const TrackerTraits& traits() const override { return honest_->traits(); }
  Result<void> arm() override { return honest_->arm(); }
  Result<GpaRanges> collect() override {
    if (next == Fails::kCollect) {
      next = Fails::kNothing;
      return Error{Errc::kBackend, 0, "in a mood"};
    }
    return honest_->collect();
  }
  Result<void> overlook(const GpaRanges& ranges,
                        const std::function<Result<void>()>& write) override {
    STASIS_TRY(honest_->overlook(ranges, write));
    if (next == Fails::kOverlook) {
      next = Fails::kNothing;
      return Error{Errc::kBackend, 0, "in a mood"};
    }
    return {};
  }
  Result<void> disarm() override { return honest_->disarm(); }
  WriteFaultHandler* write_fault_handler() override { return honest_->write_fault_handler(); }
  Fails next = Fails::kNothing;

 private:
  std::unique_ptr<DirtyTracker> honest_;
};

TEST_F(FailingResetTest, ATrackerThatFailsLosesNoPage) {
  for (const auto fails : {MoodyTracker::Fails::kCollect, MoodyTracker::Fails::kOverlook}) {
    const TemporaryDirectory directory;
    const auto path = testing::save_toy(config_, {}, 0, directory);
    ASSERT_TRUE(path) << path.error().to_string();
    backend_ = testing::make_toy_backend(config_);
    const auto restored = testing::restore_toy(*path, *backend_, "eager");
    ASSERT_TRUE(restored) << restored.error().to_string();
    Machine& machine = *restored->machine;
    const Observation clean = testing::observe(machine, *restored->output);
    MoodyTracker tracker(*make_tracker("dirty-log", machine));
    DirtyAccumulator dirty(machine, tracker);
    ASSERT_TRUE(dirty.arm());
    const auto chain = *SnapshotChain::open(posix_file_system(), *path);
    const auto resetter = *Resetter::create(machine, dirty, *chain);
    ASSERT_TRUE(machine.step(600));
    tracker.next = fails;
    const auto failed = resetter->reset();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::kBackend);
    expect_refusal(machine, "in a mood");
    ASSERT_TRUE(resetter->reset());
    EXPECT_EQ(testing::observe(machine, *restored->output), clean);
    ASSERT_TRUE(dirty.disarm());
  }
}

}  // namespace
}  // namespace stasis::snapshot
