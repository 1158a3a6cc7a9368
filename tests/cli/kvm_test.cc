// The program on real hardware virtualization: guest files, restore truth, and hosts that lack it.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/guest_files.h"
#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Kvm : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_kvm().empty()) {
      GTEST_SKIP() << why_no_kvm();
    }
  }
  Outcome stasis(const std::vector<std::string>& arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  nlohmann::json ok(const std::vector<std::string>& arguments) {
    const Outcome outcome = stasis(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    return outcome.json();
  }
  static std::string field(const std::string& proof, const std::string& name) {
    const std::size_t begin = proof.find(name + "=");
    EXPECT_NE(begin, std::string::npos) << proof;
    return proof.substr(begin, proof.find(' ', begin) - begin);
  }
  // A copy of the guest hello with bytes replaced.
  std::string damaged_guest(std::size_t at, const std::string& bytes) {
    const auto path = guests::find_guest("hello");
    EXPECT_TRUE(path.has_value());
    std::string image = read_file(path->string());
    image.replace(at, bytes.size(), bytes);
    write_file(directory_ / "guest", image);
    return "./guest";
  }

  TemporaryDirectory directory_;
};

TEST_F(Kvm, AResetGuestHasForgottenWhatItWasTold) {
  ok({"run", "kvstore", "--memory", "64M", "--vcpus", "2", "--save", "warm", "--json", "--",
      "size=8"});
  for (const std::string tracker : {"dirty-log", "pagemap-scan"}) {
    const nlohmann::json json = ok({"bench-reset", "warm", "--request", "put a b", "--repeat", "8",
                                    "--tracker", tracker, "--json"});
    EXPECT_TRUE(json.at("equal").get<bool>());
    EXPECT_EQ(json.at("response_bytes"), 6) << "'ok new', not 'ok replaced'";
    EXPECT_EQ(json.at("resets").size(), 8U);
  }
}

TEST_F(Kvm, AnswersThatTellTheTimeDifferUnlessThatIsAllowed) {
  ok({"run", "kvstore", "--memory", "64M", "--save", "warm", "--json", "--", "size=8"});
  const std::vector<std::string> bench = {"bench-reset", "warm", "--request", "mix n=50 write=50",
                                          "--repeat",    "8",    "--json"};
  const Outcome differs = stasis(bench);
  EXPECT_EQ(differs.exit_code, 1) << differs.out << differs.err;
  EXPECT_FALSE(differs.json().at("equal").get<bool>());
  EXPECT_GE(differs.json().at("differs_at").get<int>(), 2);
  std::vector<std::string> any = bench;
  any.emplace_back("--any-answer");
  EXPECT_EQ(ok(any).at("resets").size(), 8U);
}

TEST_F(Kvm, TheRestoredGuestProvesThatItIsTheOneThatWasSaved) {
  const nlohmann::json saved = ok({"run", "kvstore", "--memory", "64M", "--request", "@@prove",
                                   "--save", "warm", "--json", "--", "size=8"});
  const std::string before = saved.at("requests").at(0).at("response");
  for (const std::string policy : {"lazy", "eager"}) {
    const nlohmann::json json =
        ok({"restore", "warm", "--policy", policy, "--request", "@@prove", "--json"});
    const std::string after = json.at("trials").at(0).at("requests").at(0).at("response");
    EXPECT_EQ(field(after, "nonce"), field(before, "nonce"));
    EXPECT_EQ(field(after, "hash"), field(before, "hash"));
    EXPECT_EQ(field(before, "counter"), "counter=1");
    EXPECT_EQ(field(after, "counter"), "counter=2");
    EXPECT_EQ(field(after, "restores"), "restores=1");
  }
}

TEST_F(Kvm, TheFirstInstructionIsTimedByTheGuestItself) {
  ok({"run", "hello", "--memory", "16M", "--save", "warm", "--json"});
  const nlohmann::json json = ok({"restore", "warm", "--json"});
  const auto& trial = json.at("trials").at(0);
  const auto first = trial.at("milestones_ns").at("first_instruction");
  ASSERT_TRUE(first.is_number()) << trial;
  const auto error = trial.at("first_instruction_error_ns").get<std::int64_t>();
  EXPECT_GE(error, 1);
  EXPECT_LT(error, 1'000'000);
  EXPECT_GE(first.get<std::int64_t>() + error,
            trial.at("milestones_ns").at("vcpu_enter").get<std::int64_t>());
}

TEST_F(Kvm, EveryTrackerSavesTheSameDifference) {
  ok({"run", "kvstore", "--memory", "64M", "--save", "warm", "--json", "--", "size=8"});
  const nlohmann::json doctor = ok({"doctor", "--json"});
  for (const auto& tracker : doctor.at("trackers")) {
    if (!tracker.at("available").get<bool>()) {
      continue;
    }
    const std::string name = tracker.at("name");
    SCOPED_TRACE(name);
    const nlohmann::json saved =
        ok({"restore", "warm", "--policy", "eager", "--tracker", name, "--request",
            "put key:1 a new value", "--request", "@@prove", "--save", name, "--diff",
            "--full-copy", "whole-" + name, "--json"});
    // Far from all memory, unless the tracker may report what was not written.
    EXPECT_LT(saved.at("saved").at("dirty_bytes").get<std::uint64_t>(),
              tracker.at("exact").get<bool>() ? 8U << 20U : 64U << 20U);
    const std::string before = saved.at("trials").at(0).at("requests").at(1).at("response");
    const nlohmann::json again =
        ok({"restore", name, "--request", "get key:1", "--request", "@@prove", "--json"});
    EXPECT_THAT(again.at("trials").at(0).at("requests").at(0).at("response").get<std::string>(),
                HasSubstr("a new value"));
    EXPECT_EQ(field(again.at("trials").at(0).at("requests").at(1).at("response"), "hash"),
              field(before, "hash"));
    EXPECT_EQ(stasis({"verify", name}).exit_code, 0);
    const nlohmann::json oracle = ok({"verify-diff", name, "whole-" + name, "--json"});
    EXPECT_GT(oracle.at("changed_pages").get<std::uint64_t>(), 0U);
    EXPECT_EQ(oracle.at("missed_pages"), 0U) << oracle;
  }
}

TEST_F(Kvm, AutoDecidesByWhatWasMeasuredHere) {
  const RunSettings settings{.directory = directory_.path(),
                             .environment = {{"XDG_CACHE_HOME", directory_.path()}}};
  const Outcome measured = run({"doctor", "--calibrate", "--json"}, settings);
  ASSERT_EQ(measured.exit_code, 0) << measured.err;
  const nlohmann::json doctor = measured.json();
  EXPECT_TRUE(doctor.at("tracker_costs").at("calibrated").get<bool>());
  EXPECT_GE(doctor.at("calibration").at("trackers").get<int>(), 2);
  const std::string file = read_file(directory_ / "stasis/trackers-kvm.json");
  const nlohmann::json costs = nlohmann::json::parse(file).at("trackers");
  // Whoever reads all of memory pays for each page, and a guest's writes cost it nothing.
  EXPECT_GT(costs.at("compare-hash").at("collect_page_ns").get<double>(), 1);
  for (const auto& choice : doctor.at("auto_tracker_choices")) {
    for (const auto& tracker : choice.at("ranking")) {
      EXPECT_TRUE(costs.contains(tracker.at("name").get<std::string>())) << tracker;
    }
  }
  const nlohmann::json used =
      run({"run", "hello", "--memory", "16M", "--tracker", "auto", "--explain", "--json"}, settings)
          .json();
  EXPECT_THAT(used.at("tracker_reasons").at(0).get<std::string>(), HasSubstr("calibrated on"));
}

// The VM has to be made for it, long before it is armed.
TEST_F(Kvm, RunTracksByRingsWhereThereAreAny) {
  const Outcome outcome =
      stasis({"run", "kvstore", "--memory", "64M", "--tracker", "dirty-ring", "--ring-entries",
              "1024", "--request", "put key:1 value", "--json", "--", "size=8"});
  bool available = false;
  const nlohmann::json doctor = ok({"doctor", "--json"});
  for (const auto& tracker : doctor.at("trackers")) {
    available = available || (tracker.at("name") == "dirty-ring" && tracker.at("available"));
  }
  if (!available) {
    EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
    return;
  }
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json dirty = outcome.json().at("dirty");
  EXPECT_GT(dirty.at("bytes").get<std::uint64_t>(), 0U);
  EXPECT_LT(dirty.at("bytes").get<std::uint64_t>(), 8U << 20U);
  const Outcome refused = stasis({"run", "kvstore", "--memory", "64M", "--tracker", "dirty-ring",
                                  "--ring-entries", "1000", "--", "size=8"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("a power of two from 1024"));
}

TEST_F(Kvm, FilesThatAreNoGuestsAreRefusedWithTheReason) {
  write_file(directory_ / "text", "#!/bin/sh\n");
  Outcome outcome = stasis({"run", "./text"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("text"));
  write_file(directory_ / "empty", "");
  EXPECT_EQ(stasis({"run", "./empty"}).exit_code, 3);
  // An ELF for this host, but a dynamic executable of its system.
  outcome = stasis({"run", "/proc/self/exe"});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, StartsWith("stasis: error: "));
}

TEST_F(Kvm, GuestImagesThatLieAreRefused) {
  struct Lie {
    std::size_t at;
    std::string bytes;
    int exit_code;
  };
  // Offsets in an ELF64 header (gABI): e_machine 18, e_entry 24, e_phoff 32; the first program
  // header is at 64: p_vaddr +16, p_paddr +24, p_memsz +40.
  std::vector<Lie> lies = {
      {18, std::string("\xB7\0", 2), 4},      // AArch64: no loader for it yet.
      {18, std::string("\x03\0", 2), 8},      // i386.
      {24, std::string(8, '\xFF'), 3},        // Entry point outside memory.
      {32, std::string(8, '\xFF'), 3},        // Program headers outside the file.
      {64 + 16, std::string(16, '\x7F'), 3},  // Segment outside memory.
      {64 + 24, std::string(8, '\x7F'), 8},   // Not at its physical address.
      {64 + 40, std::string(7, '\xFF'), 3},   // Larger than memory.
  };
  // The second segment (its header is at 120) where the first one lies, at 4 MiB.
  const std::string four_mib("\0\0\x40\0\0\0\0\0", 8);
  lies.push_back({64 + 56 + 16, four_mib + four_mib, 3});
  for (const Lie& lie : lies) {
    const Outcome outcome = stasis({"run", damaged_guest(lie.at, lie.bytes)});
    EXPECT_EQ(outcome.exit_code, lie.exit_code) << lie.at << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("stasis: error: ")) << lie.at;
    EXPECT_THAT(outcome.err, HasSubstr("guest")) << lie.at;
  }
}

TEST(NoKvm, AMissingDeviceIsNamedWithItsCure) {
  const RunSettings settings{.environment = {{"STASIS_KVM_DEVICE", "/nonexistent/kvm"}}};
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"run", "hello"}, {"run", "hello", "--backend", "kvm"}}) {
    const Outcome outcome = run(arguments, settings);
    EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/kvm does not exist"));
    EXPECT_THAT(outcome.err, HasSubstr("hint: `stasis doctor`"));
  }
}

TEST(NoKvm, MissingPermissionIsNamedWithItsCure) {
  TemporaryDirectory directory;
  write_file(directory / "kvm", "");
  chmod((directory / "kvm").c_str(), 0);
  const Outcome outcome =
      run({"run", "hello"}, {.environment = {{"STASIS_KVM_DEVICE", directory / "kvm"}}});
  EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
  // Root may open it, and then finds that it is not KVM.
  EXPECT_THAT(outcome.err,
              HasSubstr(geteuid() == 0 ? "is not a KVM device" : "no permission to open"));
}

}  // namespace
}  // namespace stasis::cli::test
