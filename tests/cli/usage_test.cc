// What every user of `stasis` meets first: help, version, mistakes, and machine-readable answers.
#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/exit_code.h"
#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// As the program's own help lists them, so that no new one is left out here.
std::vector<std::string> all_commands() {
  const std::string help = run({"--help"}).out;
  std::vector<std::string> commands;
  std::istringstream lines(help.substr(help.find("\nSubcommands:\n") + 1));
  for (std::string line; std::getline(lines, line) && line != "Exit status:";) {
    if (line.rfind("  ", 0) == 0 && line.size() > 2 && line[2] != ' ') {
      commands.push_back(line.substr(2, line.find(' ', 2) - 2));
    }
  }
  return commands;
}

TEST(Help, NamesEveryCommandAndEveryExitCode) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(all_commands(),
              ::testing::UnorderedElementsAre("doctor", "run", "restore", "invoke", "bench-reset",
                                              "inspect", "verify", "verify-diff", "diff", "merge",
                                              "policy", "trace", "experiment", "report"));
  for (const ExitCodeInfo& info : all_exit_codes()) {
    EXPECT_THAT(outcome.out, HasSubstr(std::string(info.meaning)));
  }
}

TEST(Help, OfEveryCommandShowsExamplesAndJson) {
  for (const std::string& command : all_commands()) {
    const Outcome outcome = run({command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << command << outcome.err;
    const std::size_t examples = outcome.out.find("Examples:\n  $ stasis ");
    ASSERT_NE(examples, std::string::npos) << command;
    EXPECT_THAT(outcome.out.substr(examples), HasSubstr("  $ stasis " + command)) << command;
    EXPECT_THAT(outcome.out, HasSubstr("--json")) << command;
  }
}

TEST(Help, OfACommandOfACommandIsItsOwn) {
  for (const std::string command : {"list", "run", "report", "compare"}) {
    const Outcome outcome = run({"experiment", command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  $ stasis experiment " + command)) << command;
  }
}

TEST(Help, IsOneJsonObjectWhenAskedFor) {
  EXPECT_TRUE(run({"run", "--help", "--json"}).json().contains("help"));
}

TEST(Version, NamesVersionCommitAndBuildType) {
  const Outcome text = run({"--version"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, StartsWith("stasis 0."));
  const Outcome json = run({"--version", "--json"});
  for (const char* key : {"version", "commit", "build_type", "compiler"}) {
    EXPECT_FALSE(json.json()[key].get<std::string>().empty()) << key;
    EXPECT_THAT(text.out, HasSubstr(json.json()[key].get<std::string>()));
  }
}

TEST(Usage, MistakesExitWith2AndSayWhatToDo) {
  const std::vector<std::vector<std::string>> mistakes = {
      {},
      {"frobnicate"},
      {"--frobnicate"},
      {"run"},
      {"run", "hello", "--frobnicate"},
      {"run", "hello", "--memory", "lots"},
      {"run", "hello", "--memory", "-1"},
      {"run", "hello", "--vcpus", "0"},
      {"run", "hello", "--vcpus", "two"},
      {"run", "hello", "--until", "later"},
      {"run", "hello", "--compress", "zip"},
      {"run", "hello", "--layout", "random"},
      {"run", "hello", "--timeout", "1 hour"},
      {"run", "hello", "--backend", "vmware"},
      {"restore"},
      {"bench-reset"},
      {"bench-reset", "x", "--request", "a", "--request", "b"},
      {"bench-reset", "x", "--repeat", "0"},
      {"restore", "x", "--repeat", "0"},
      {"restore", "x", "--diff"},
      {"restore", "x", "--repeat", "2", "--save", "y"},
      {"restore", "x", "--verify", "maybe"},
      {"diff", "x"},
      {"merge", "x"},
      {"experiment"},
      {"experiment", "run"},
      {"experiment", "run", "full_vs_diff", "--policies", "lasy", "--backend", "mock"},
      {"experiment", "run", "floor", "--policies", "lazy", "--backend", "mock"},
      {"experiment", "run", "floor", "--trackers", "a,,b"},
      {"experiment", "compare", "x"},
      {"experiment", "compare", "x", "y", "--threshold", "100"},
      {"report"},
  };
  for (const auto& arguments : mistakes) {
    const std::string line = ::testing::PrintToString(arguments);
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << line << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("stasis: error: ")) << line;
    EXPECT_EQ(outcome.out, "") << line;
  }
}

TEST(Usage, AWordAfterTheCommandIsNotTakenForACommand) {
  const Outcome outcome = run({"experiment", "run", "frobnicate"});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("restore_latency"));
  EXPECT_THAT(run({"experiment", "run", "restore_latancy"}).err,
              HasSubstr("did you mean 'restore_latency'?"));
}

TEST(Usage, ErrorsAreOneJsonObjectWhenAskedFor) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--json"},
                                             {"--json", "frobnicate"},
                                             {"run", "--json"},
                                             {"run", "hello", "--memory", "lots", "--json"},
                                             {"inspect", "--json", "nowhere"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_NE(outcome.exit_code, 0);
    const nlohmann::json json = outcome.json();
    EXPECT_FALSE(json.at("error").at("code").get<std::string>().empty());
    EXPECT_FALSE(json.at("error").at("message").get<std::string>().empty());
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Usage, SuggestsTheCommandThatWasMeant) {
  EXPECT_THAT(run({"restor", "x"}).err, HasSubstr("did you mean 'restore'?"));
  EXPECT_THAT(run({"xyzzy"}).err, Not(HasSubstr("did you mean")));
}

TEST(Usage, ColoursAndProgressStayOutOfPipes) {
  const Outcome outcome = run({"doctor"}, {.environment = {{"TERM", "xterm-256color"}}});
  EXPECT_THAT(outcome.out, Not(HasSubstr("\033")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("\033")));
}

TEST(Output, ThatCannotBeWrittenIsAnError) {
  const Outcome outcome = run({"--help"}, {.stdout_path = "/dev/full"});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("standard output"));
}

TEST(Output, ToAClosedPipeEndsQuietly) {
  Process process({"run", "toy:spin", "--backend", "mock", "--timeout", "300ms"}, {});
  process.stop_reading();
  const Outcome outcome = process.wait();
  EXPECT_FALSE(outcome.signaled);
  // The guest says nothing and times out; help does write.
  Process help({"--help"}, {});
  help.stop_reading();
  const Outcome quiet = help.wait();
  EXPECT_FALSE(quiet.signaled);
  EXPECT_TRUE(quiet.exit_code == 141 || quiet.exit_code == 0) << quiet.exit_code;
  EXPECT_EQ(quiet.err, "");
}

TEST(Doctor, ListsBackendsTrackersAndPoliciesWithReasons) {
  const nlohmann::json json = run({"doctor", "--json"}).json();
  ASSERT_GE(json.at("backends").size(), 3U);
  for (const char* list : {"backends", "trackers", "policies"}) {
    ASSERT_FALSE(json[list].empty()) << list;
    for (const auto& item : json[list]) {
      EXPECT_FALSE(item.at("name").get<std::string>().empty());
      if (!item.at("available").get<bool>()) {
        EXPECT_FALSE(item.at("reason").get<std::string>().empty()) << item;
      }
    }
  }
}

TEST(Doctor, SaysWhatEachTrackerPromises) {
  const nlohmann::json json = run({"doctor", "--backend", "mock", "--json"}).json();
  ASSERT_GE(json.at("trackers").size(), 12U);
  for (const auto& tracker : json.at("trackers")) {
    const auto name = tracker.at("name").get<std::string>();
    const bool approximation = name == "zero-scan" || name == "residency" || name == "soft-dirty" ||
                               name.starts_with("dirty-");
    EXPECT_EQ(tracker.at("exact"), !approximation) << tracker;
    for (const char* cost : {"arming", "first_write", "collecting"}) {
      EXPECT_FALSE(tracker.at("costs").at(cost).get<std::string>().empty()) << tracker;
    }
    EXPECT_EQ(tracker.at("granularity_bytes"), 4096) << tracker;
    EXPECT_TRUE(tracker.at("sees_host_writes").is_boolean());
    EXPECT_TRUE(tracker.at("collects_while_running").is_boolean());
  }
}

TEST(Doctor, RanksWhatAutoMayTakeWithReasons) {
  const TemporaryDirectory cache;
  const nlohmann::json json = run({"doctor", "--backend", "mock", "--json"},
                                  {.environment = {{"XDG_CACHE_HOME", cache.path()}}})
                                  .json();
  ASSERT_GE(json.at("auto_tracker").size(), 2U);
  EXPECT_EQ(json.at("auto_tracker").front().at("name"), "dirty-log");
  ASSERT_EQ(json.at("auto_tracker_choices").size(), 2U);
  EXPECT_EQ(json.at("auto_tracker_choices").back().at("ranking").front().at("name"),
            "compare-hash");
  for (const auto& choice : json.at("auto_tracker_choices")) {
    double before = 0;
    for (const auto& tracker : choice.at("ranking")) {
      EXPECT_FALSE(tracker.at("reason").get<std::string>().empty());
      EXPECT_GE(tracker.at("predicted_ns").get<double>() * 1.05, before);  // Equal within 5 %.
      before = tracker.at("predicted_ns").get<double>();
    }
    for (const auto& tracker : choice.at("passed_over")) {
      EXPECT_FALSE(tracker.at("reason").get<std::string>().empty());
    }
  }
  EXPECT_FALSE(json.at("tracker_costs").at("calibrated").get<bool>());
  EXPECT_THAT(json.at("tracker_costs").at("source").get<std::string>(),
              ::testing::AllOf(HasSubstr("built in"), HasSubstr("does not exist")));
  EXPECT_EQ(json.at("tracker_costs").at("path"), cache / "stasis/trackers-mock.json");
}

TEST(Doctor, IgnoresACalibrationThatIsDamagedAndSaysWhy) {
  const TemporaryDirectory cache;
  std::filesystem::create_directory(cache / "stasis");
  write_file(cache / "stasis/trackers-mock.json", "{\"format\": 1, \"host\"");
  const Outcome outcome =
      run({"doctor", "--backend", "mock"}, {.environment = {{"XDG_CACHE_HOME", cache.path()}}});
  EXPECT_THAT(outcome.out, ::testing::AllOf(HasSubstr("built in"), HasSubstr("not a JSON object"),
                                            HasSubstr("stasis doctor --calibrate")));
}

TEST(Doctor, CalibratesNothingWhoseTimeMeansNothing) {
  const TemporaryDirectory cache;
  const RunSettings settings{.environment = {{"XDG_CACHE_HOME", cache.path()}}};
  const Outcome outcome = run({"doctor", "--backend", "mock", "--calibrate"}, settings);
  EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("mock"));
  EXPECT_FALSE(exists(cache / "stasis"));
}

TEST(Doctor, NeverOffersTheMockByItself) {
  const nlohmann::json json =
      run({"doctor", "--json"}, {.environment = {{"STASIS_KVM_DEVICE", "/nonexistent/kvm"}}})
          .json();
  EXPECT_FALSE(json.at("usable").get<bool>());
  EXPECT_NE(
      run({"run", "toy:counter"}, {.environment = {{"STASIS_KVM_DEVICE", "/nonexistent/kvm"}}})
          .exit_code,
      0);
}

TEST(Doctor, WithoutAUsableBackendExitsWith4AndSaysHowToMendIt) {
  const Outcome outcome =
      run({"doctor"}, {.environment = {{"STASIS_KVM_DEVICE", "/nonexistent/kvm"}}});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.out, HasSubstr("/nonexistent/kvm does not exist"));
  EXPECT_THAT(outcome.out, HasSubstr("cure:"));
}

TEST(Doctor, ShowsWhatTheMockCanDoWhenAsked) {
  const Outcome outcome = run({"doctor", "--backend", "mock", "--json"});
  EXPECT_EQ(outcome.json().at("capabilities").at("backend"), "mock");
  EXPECT_TRUE(outcome.json().at("capabilities").at("write_protection").get<bool>());
}

}  // namespace
}  // namespace stasis::cli::test
