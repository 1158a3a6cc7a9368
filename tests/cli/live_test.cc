// `--live`: what a user sees of a save without a pause. On the mock everywhere, on KVM where the
// host has it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;

struct Flavour {
  std::string backend;
  std::string guest;
  std::string tracker;
};
void PrintTo(const Flavour& flavour, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << flavour.backend;
}

class Live : public ::testing::TestWithParam<Flavour> {
 protected:
  void SetUp() override {
    if (GetParam().backend == "kvm" && !why_no_kvm().empty()) {
      GTEST_SKIP() << why_no_kvm();
    }
  }
  Outcome guest(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--backend", GetParam().backend});
    return run(arguments, {.directory = directory_.path()});
  }
  Outcome stasis(const std::vector<std::string>& arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  static nlohmann::json ok(const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    return outcome.json();
  }

  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Backends, Live,
                         ::testing::Values(Flavour{"mock", "toy:counter", "protection"},
                                           Flavour{"kvm", "hello", "dirty-log"}),
                         [](const auto& flavour) { return flavour.param.backend; });

TEST_P(Live, ASavedGuestIsTheOneThatRan) {
  const nlohmann::json json = ok(guest({"run", GetParam().guest, "--memory", "16M", "--request",
                                        "one", "--save", "warm", "--live", "--json"}));
  const nlohmann::json& live = json.at("saved").at("live");
  EXPECT_THAT(live.at("mechanism").get<std::string>(), ::testing::Not(""));
  EXPECT_GT(json.at("saved").at("paused_ns").get<std::int64_t>(), 0);
  EXPECT_GE(json.at("saved").at("paused_ns").get<std::int64_t>(),
            live.at("freeze_ns").get<std::int64_t>());
  EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 0);
  const nlohmann::json restored = ok(guest({"restore", "warm", "--request", "two", "--json"}));
  const std::string answer =
      restored.at("trials").at(0).at("requests").at(0).at("response").get<std::string>();
  EXPECT_EQ(answer, GetParam().backend == "mock" ? "count=00000002" : "two");
}

TEST_P(Live, OneThatIsHeldAtReadyIsSavedToo) {
  const Outcome saved =
      guest({"run", GetParam().guest, "--memory", "16M", "--save", "warm", "--live"});
  EXPECT_EQ(saved.exit_code, 0) << saved.err;
  EXPECT_THAT(saved.out, HasSubstr("while the guest ran; it was paused for"));
  const Outcome restored = guest({"restore", "warm", "--request", "one"});
  EXPECT_EQ(restored.exit_code, 0) << restored.err;
}

TEST_P(Live, ADifferenceIsComplete) {
  ok(guest({"run", GetParam().guest, "--memory", "16M", "--save", "warm", "--json"}));
  const nlohmann::json json =
      ok(guest({"restore", "warm", "--tracker", GetParam().tracker, "--request", "one", "--save",
                "changed", "--diff", "--live", "--full-copy", "full", "--json"}));
  EXPECT_LT(json.at("saved").at("dirty_bytes").get<std::uint64_t>(), 4U << 20U);
  const Outcome complete = stasis({"verify-diff", "changed", "full"});
  EXPECT_EQ(complete.exit_code, 0) << complete.out << complete.err;
}

TEST_P(Live, EachMechanismThatDoctorListsCanBeNamed) {
  const nlohmann::json doctor = guest({"doctor", "--json"}).json();
  ASSERT_FALSE(doctor.at("live").empty());
  for (const nlohmann::json& mechanism : doctor.at("live")) {
    const auto name = mechanism.at("name").get<std::string>();
    const Outcome outcome =
        guest({"run", GetParam().guest, "--memory", "16M", "--save", "warm", "--force", "--live",
               "--live-by", name, "--live-buffer", "1M", "--live-when-full", "abort"});
    if (mechanism.at("available").get<bool>()) {
      EXPECT_EQ(outcome.exit_code, 0) << name << ": " << outcome.err;
      EXPECT_THAT(outcome.out, HasSubstr("live by " + name));
    } else {
      EXPECT_EQ(outcome.exit_code, 4) << name << ": " << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(mechanism.at("reason").get<std::string>()));
    }
  }
}

TEST_P(Live, WhatMakesNoSenseIsRefusedBeforeTheGuestStarts) {
  const Outcome nowhere = guest({"run", GetParam().guest, "--live"});
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.err;
  EXPECT_THAT(nowhere.err, HasSubstr("--live says how to save: it needs --save DIR"));
  const Outcome unknown =
      guest({"run", GetParam().guest, "--save", "warm", "--live", "--live-by", "magic"});
  EXPECT_EQ(unknown.exit_code, 2) << unknown.err;
  EXPECT_THAT(unknown.err, HasSubstr("auto, userfaultfd, fork, protection"));
  const Outcome nothing =
      guest({"run", GetParam().guest, "--save", "warm", "--live", "--live-buffer", "0"});
  EXPECT_EQ(nothing.exit_code, 2) << nothing.err;
  EXPECT_THAT(nothing.err, HasSubstr("buffer of 0 bytes"));
  const Outcome again =
      guest({"run", GetParam().guest, "--save", "warm", "--live", "--save-every", "1s"});
  EXPECT_EQ(again.exit_code, 2) << again.err;
  EXPECT_THAT(again.err, HasSubstr("--live saves once"));
  const Outcome untracked = guest({"restore", "warm", "--save", "changed", "--diff", "--live"});
  EXPECT_EQ(untracked.exit_code, 2) << untracked.err;
  EXPECT_THAT(untracked.err, HasSubstr("needs --tracker NAME"));
  EXPECT_FALSE(exists(directory_ / "warm"));
}

}  // namespace
}  // namespace stasis::cli::test
