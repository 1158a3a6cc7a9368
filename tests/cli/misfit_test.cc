// Snapshots that are well-formed and do not fit, are larger than anything, or lose their payload
// under a running guest; end to end, as a user meets them.
#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/manifest_codec.h"
#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Misfit : public ::testing::Test {
 protected:
  Outcome stasis(const std::vector<std::string>& arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  void save(const std::string& name, const std::string& toy,
            const std::string& layout = "mappable") {
    const Outcome outcome = stasis({"run", toy, "--backend", "mock", "--memory", "16M", "--request",
                                    "one", "--save", name, "--layout", layout});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  void edit_manifest(const std::string& name,
                     const std::function<void(snapshot::Manifest&)>& edit) {
    const std::string path = directory_ / (name + "/manifest.capnp");
    const std::string text = read_file(path);
    auto decoded = snapshot::decode_manifest(std::as_bytes(std::span(text)));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
    edit(decoded->manifest);
    const auto bytes = snapshot::encode_manifest(decoded->manifest);
    ASSERT_TRUE(bytes.has_value()) << bytes.error().to_string();
    write_file(path, std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
  }

  TemporaryDirectory directory_;
};

TEST_F(Misfit, SnapshotsOfOtherArchitecturesNameBothAndAreStillInspected) {
  const fs::path golden = fs::path(STASIS_SOURCE_DIR) / "tests/snapshot/golden";
  for (const auto& [name, architecture] :
       {std::pair<std::string, std::string>{"v1_arm64_packed", "arm64"},
        {"v1_x86_lz4", "x86-64"}}) {
    for (const std::string policy : {"lazy", "eager"}) {
      const Outcome outcome =
          stasis({"restore", golden / name, "--backend", "mock", "--policy", policy});
      EXPECT_EQ(outcome.exit_code, 8) << outcome.err;
      EXPECT_THAT(outcome.err,
                  AllOf(StartsWith("stasis: error: "), HasSubstr(architecture), HasSubstr("toy")));
    }
    EXPECT_EQ(stasis({"inspect", golden / name, "--json"}).json().at("architecture"), architecture);
    EXPECT_EQ(stasis({"verify", golden / name}).exit_code, 0);
  }
  if (why_no_kvm().empty()) {
    const Outcome outcome = stasis({"restore", golden / "v1_arm64_packed", "--backend", "kvm"});
    EXPECT_EQ(outcome.exit_code, 8) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("arm64"), HasSubstr("x86-64")));
  }
}

// Within what the format allows, and far beyond any host.
TEST_F(Misfit, AGuestWithMoreMemoryThanTheHostIsRefusedBeforeAnyIsTaken) {
  save("huge", "toy:counter", "packed");
  edit_manifest("huge", [](snapshot::Manifest& manifest) {
    const GpaRange far{Gpa{std::uint64_t{1} << 44U}, std::uint64_t{1} << 42U};  // 4 TiB.
    manifest.regions.push_back({far, BackingKind::kAnonymous, HugePages::kTransparent});
    manifest.extents.push_back({far, snapshot::ExtentKind::kZero, 0, 0});
  });
  for (const std::string policy : {"lazy", "eager"}) {
    const Outcome outcome =
        stasis({"restore", "huge", "--backend", "mock", "--policy", policy, "--request", "x"});
    EXPECT_EQ(outcome.exit_code, 8) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("stasis: error: "), HasSubstr("huge"),
                                   HasSubstr("memory"), HasSubstr("host")));
  }
}

TEST_F(Misfit, APayloadThatIsCutUnderALazyGuestEndsItWithAnError) {
  save("warm", "toy:busy");
  Process process({"restore", "warm", "--backend", "mock", "--until", "exit", "--timeout", "1h"},
                  {.directory = directory_.path()});
  const std::string maps = "/proc/" + std::to_string(process.pid()) + "/maps";
  while (process.is_running() && read_file(maps).find("warm/memory") == std::string::npos) {
  }
  fs::resize_file(directory_ / "warm/memory", 0);
  const Outcome outcome = process.wait();
  EXPECT_FALSE(outcome.signaled);
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, AllOf(StartsWith("stasis: error: "), HasSubstr("cut short")));
  EXPECT_EQ(stasis({"restore", "warm", "--backend", "mock"}).exit_code, 3);
  EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 1);
}

TEST_F(Misfit, FilesThatAreNoGuestsAreRefusedOnEveryHost) {
  write_file(directory_ / "text", "#!/bin/sh\n");
  write_file(directory_ / "empty", "");
  write_file(directory_ / "magic",
             "\x7f"
             "ELF");
  for (const std::string file : {"./text", "./empty", "./magic"}) {
    const Outcome outcome = stasis({"run", file, "--backend", "mock"});
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err,
                AllOf(StartsWith("stasis: error: "), HasSubstr(file.substr(2)), HasSubstr("ELF")));
  }
  const Outcome directory = stasis({"run", "./", "--backend", "mock"});
  EXPECT_NE(directory.exit_code, 0);
  EXPECT_THAT(directory.err, StartsWith("stasis: error: "));
}

}  // namespace
}  // namespace stasis::cli::test
