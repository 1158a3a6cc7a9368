// What goes on beside the way of one snapshot: series of them, and traces of what a restore
// touches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/flow.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;

TEST_P(Flow, ASeriesIsSavedWhileTheGuestAnswersAndItsNewestRestores) {
  std::vector<std::string> arguments = {
      "run", GetParam().guest, "--memory", "16M",         "--save", "series", "--save-every",
      "1ms", "--keep",         "2",        "--chain-max", "3"};
  for (int i = 0; i < 40; ++i) {
    arguments.insert(arguments.end(), {"--request", "r" + std::to_string(i)});
  }
  const nlohmann::json run = ok(guest(arguments));
  const nlohmann::json& series = run.at("series");
  EXPECT_GE(series.at("saved"), 1);
  EXPECT_EQ(series.at("paused_ns").size(), series.at("saved"));
  const auto newest = series.at("newest").get<std::string>();
  EXPECT_EQ(stasis({"verify", newest}).exit_code, 0);
  nlohmann::json json = ok(guest({"restore", newest, "--request", "last"}));
  EXPECT_EQ(response(json.at("trials").at(0).at("requests"), 0),
            GetParam().backend == "mock" ? "count=00000041" : "last");
  // A restored guest's series begins anew, in a directory of its own.
  const Outcome again =
      guest({"restore", newest, "--request", "more", "--save", "second", "--save-every", "1h"});
  EXPECT_GE(ok(again).at("series").at("saved"), 1);
  EXPECT_EQ(stasis({"verify", again.json().at("series").at("newest").get<std::string>()}).exit_code,
            0);
  const Outcome text = run_text({"restore", newest, "--request", "more", "--save", "second",
                                 "--save-every", "1h", "--force"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("kept"));
}

TEST_P(Flow, ASeriesThatCannotBeIsRefusedBeforeTheGuestStarts) {
  save_warm("warm");
  const auto expect_refusal = [&](std::vector<std::string> more, const std::string& words) {
    std::vector<std::string> arguments = {"restore", "warm", "--save-every", "1s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = guest(arguments);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.json().at("error").at("message").get<std::string>(), HasSubstr(words));
  };
  expect_refusal({}, "--save DIR");
  expect_refusal({"--save", "series", "--diff"}, "--diff");
  expect_refusal({"--save", "warm"}, "not empty");
  expect_refusal({"--save", "series", "--repeat", "2"}, "--repeat");
}

TEST_P(Flow, ATraceIsRecordedShownComparedAndRefusedWhereItDoesNotBelong) {
  save_warm("warm");
  if (guest({"trace", "record", "warm", "--request", "again"}).exit_code == 4) {
    GTEST_SKIP() << "userfaultfd is closed to this user";
  }
  const nlohmann::json shown = ok(stasis({"trace", "show", "warm", "--all", "--json"}));
  EXPECT_EQ(shown.at("snapshot_id"), ok(stasis({"inspect", "warm", "--json"})).at("id"));
  std::uint64_t pages = 0;
  for (const auto& phase : shown.at("phases")) {
    pages += phase.at("pages").get<std::uint64_t>();
  }
  EXPECT_EQ(shown.at("accesses").size(), pages);
  EXPECT_GT(shown.at("phases").at(2).at("pages").get<std::uint64_t>(), 0U);  // The request.
  ok(guest({"trace", "record", "warm", "--request", "again", "--out", "second.trace"}));
  const Outcome compared = stasis({"trace", "diff", "warm", "second.trace", "--json"});
  EXPECT_GT(compared.json().at("common_pages").get<std::uint64_t>(), 0U);
  EXPECT_EQ(compared.json().at("same_snapshot"), true);
  EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 0);

  // Of another snapshot, or damaged: a warning, and the answer all the same.
  save_warm("other");
  write_file(directory_ / "other/trace.capnp", read_file(directory_ / "warm/trace.capnp"));
  Outcome outcome = guest({"restore", "other", "--request", "again", "--policy", "reap"});
  EXPECT_EQ(ok(outcome).at("trials").at(0).at("counters").at("fetched_bytes"), 0);
  EXPECT_THAT(outcome.err, HasSubstr("belongs to snapshot"));
  std::string bytes = read_file(directory_ / "warm/trace.capnp");
  for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 8; ++i) {  // Beyond any padding.
    bytes[i] = static_cast<char>(bytes[i] ^ 0x40);
  }
  write_file(directory_ / "warm/trace.capnp", bytes);
  outcome = guest({"restore", "warm", "--request", "again", "--policy", "reap"});
  EXPECT_EQ(ok(outcome).at("trials").at(0).at("counters").at("fetched_bytes"), 0);
  EXPECT_THAT(outcome.err, HasSubstr("warm/trace.capnp"));
  EXPECT_NE(stasis({"trace", "show", "warm"}).exit_code, 0);
}

}  // namespace
}  // namespace stasis::cli::test
