// stasis bench-reset: one restore, many resets, and what it says when they are not what they
// should.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/flow.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;

class BenchReset : public Flow {};

TEST_P(BenchReset, EveryAnswerIsTheFirstAndEveryResetIsMeasured) {
  save_warm("warm");
  const nlohmann::json json =
      ok(guest({"bench-reset", "warm", "--request", "two", "--repeat", "5"}));
  EXPECT_TRUE(json.at("equal").get<bool>());
  EXPECT_FALSE(json.contains("differs_at"));
  EXPECT_EQ(json.at("tracker"), "auto");
  EXPECT_GT(json.at("response_bytes").get<int>(), 0);
  EXPECT_GT(json.at("first").at("read_bytes").get<std::uint64_t>(), 0U);
  ASSERT_EQ(json.at("resets").size(), 5U);
  for (const auto& reset : json.at("resets")) {
    const auto bytes = [&reset](const char* key) { return reset.at(key).get<std::uint64_t>(); };
    EXPECT_GT(bytes("dirty_bytes"), 0U);
    EXPECT_EQ(bytes("copied_bytes") + bytes("zeroed_bytes"), bytes("dirty_bytes"));
    EXPECT_EQ(bytes("dirty_bytes") % 4096, 0U);
    EXPECT_GE(bytes("total_ns"), bytes("state_ns") + bytes("collect_ns") + bytes("copy_ns"));
  }
  for (const char* part : {"pause", "state", "collect", "read", "copy", "total"}) {
    const auto& spread = json.at("summary").at(part);
    EXPECT_EQ(spread.at("n"), 5) << part;
    EXPECT_GE(spread.at("p99_ns"), spread.at("median_ns")) << part;
  }
  for (const char* part : {"collect", "memcpy"}) {
    EXPECT_GT(json.at("floor").at(part).at("median_ns").get<std::int64_t>(), 0) << part;
  }
  EXPECT_GT(json.at("ratio").at("total").get<double>(),
            json.at("ratio").at("memory").get<double>());
}

TEST_P(BenchReset, ShowsATable) {
  save_warm("warm", {"--layout", "packed", "--compress", "lz4"});
  const Outcome text = run_text(
      {"bench-reset", "warm", "--repeat", "3", "--tracker", "compare", "--policy", "eager"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("3 resets, tracker 'compare'"));
  EXPECT_THAT(text.out, HasSubstr("7 answers equal"));
  EXPECT_THAT(text.out, HasSubstr("floor: collect alone"));
  EXPECT_THAT(text.out, HasSubstr("floor: memcpy of as many pages"));
  EXPECT_THAT(text.out, HasSubstr("times the floor"));
}

TEST_P(BenchReset, ADifferenceIsResetTo) {
  save_warm("warm");
  ok(guest({"restore", "warm", "--request", "two", "--save", "next", "--diff"}));
  const nlohmann::json json = ok(guest({"bench-reset", "next", "--repeat", "3"}));
  EXPECT_TRUE(json.at("equal").get<bool>());
}

TEST_P(BenchReset, ATrackerThatDoesNotExistIsRefusedWithTheList) {
  save_warm("warm");
  const Outcome outcome = guest({"bench-reset", "warm", "--tracker", "psychic"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.json().at("error").at("message").get<std::string>(), HasSubstr("dirty-log"));
}

INSTANTIATE_TEST_SUITE_P(Backends, BenchReset,
                         ::testing::Values(Flavour{"mock", "toy:counter", "mock"},
                                           Flavour{"kvm", "hello", "kvm"}),
                         [](const auto& flavour) { return flavour.param.name; });

// Where the guest does not look, in a page that it writes: a restore that maps its payload does not
// see it, and a reset must.
TEST(BenchResetFaults, ADamagedPageIsNamedAndNotPutBack) {
  const TemporaryDirectory directory;
  const auto mock = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--backend", "mock", "--json"});
    return run(arguments, {.directory = directory.path()});
  };
  ASSERT_EQ(mock({"run", "toy:counter", "--memory", "16M", "--request", "one", "--save", "warm"})
                .exit_code,
            0);
  std::string payload = read_file(directory / "warm/memory");
  const std::size_t answer = payload.find("count=00000001");
  ASSERT_NE(answer, std::string::npos);
  payload[answer + 200] = static_cast<char>(~payload[answer + 200]);
  write_file(directory / "warm/memory", payload);
  const Outcome outcome = mock({"bench-reset", "warm", "--policy", "lazy"});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  const auto message = outcome.json().at("error").at("message").get<std::string>();
  EXPECT_THAT(message, HasSubstr("reset to 'warm'"));
  EXPECT_THAT(message, HasSubstr("warm/memory"));
  EXPECT_THAT(message, HasSubstr("checksum does not match"));
  EXPECT_EQ(outcome.json().at("first"), nullptr);
}

}  // namespace
}  // namespace stasis::cli::test
