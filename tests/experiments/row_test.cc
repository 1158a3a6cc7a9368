#include "experiments/harness/row.h"

#include <nlohmann/json.hpp>

#include <limits>

#include <gtest/gtest.h>

#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

Row sample_row() {
  Row row;
  row.experiment = "restore_latency";
  row.plan = "0123456789abcdef";
  row.backend = "kvm";
  row.seed = 7;
  row.cell = "restore/lazy/256M";
  row.factors = {{"policy", "lazy"}, {"memory_mib", "256"}};
  row.block = 4;
  row.order = 2;
  row.wall_ns = 1'700'000'000'000'000'000;
  row.cache = {.asked = "warm",
               .verified = true,
               .data_pages = 10,
               .cached_pages = 10,
               .method = "cachestat"};
  row.noise.window_s = 1.5;
  row.noise.reasons = {"steal: 5.0 % > 2.0 %"};
  row.metrics = {{"first_instruction_ns", 1234567.0}, {"peak_rss_bytes", 1e9}};
  row.proof = "hash=1";
  row.quotable = true;
  return row;
}

TEST(Row, SurvivesItsOwnJson) {
  const std::string line = to_json_line(sample_row(), {{"kernel", "Linux 6.18"}});
  ASSERT_TRUE(line.ends_with('\n'));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  auto row = row_from_json(line, "test");
  ASSERT_TRUE(row) << row.error().to_string();
  EXPECT_EQ(to_json_line(*row, {{"kernel", "Linux 6.18"}}), line);
  EXPECT_TRUE(row->tainted());
}

// The documented fields: readers in other languages depend on these names and types.
TEST(Row, HasTheDocumentedFields) {
  const auto json = nlohmann::json::parse(to_json_line(sample_row(), {{"kernel", "k"}}));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("experiment"), "restore_latency");
  EXPECT_EQ(json.at("plan"), "0123456789abcdef");
  EXPECT_EQ(json.at("backend"), "kvm");
  EXPECT_EQ(json.at("seed"), 7);
  EXPECT_EQ(json.at("cell"), "restore/lazy/256M");
  EXPECT_EQ(json.at("factors").at("policy"), "lazy");
  EXPECT_EQ(json.at("block"), 4);
  EXPECT_EQ(json.at("order"), 2);
  EXPECT_EQ(json.at("warmup"), false);
  EXPECT_EQ(json.at("quotable"), true);
  EXPECT_EQ(json.at("tainted"), true);
  EXPECT_EQ(json.at("taint").size(), 1U);
  EXPECT_EQ(json.at("cache").at("asked"), "warm");
  EXPECT_EQ(json.at("cache").at("verified"), true);
  EXPECT_EQ(json.at("noise").at("window_s"), 1.5);
  EXPECT_EQ(json.at("metrics").at("first_instruction_ns"), 1234567.0);
  EXPECT_EQ(json.at("proof"), "hash=1");
  EXPECT_FALSE(json.contains("error"));
  EXPECT_EQ(json.at("host").at("kernel"), "k");
}

TEST(Row, NumbersThatJsonCannotHoldAreLeftOut) {
  Row row = sample_row();
  row.metrics["infinite"] = std::numeric_limits<double>::infinity();
  row.metrics["nothing"] = std::numeric_limits<double>::quiet_NaN();
  auto read = row_from_json(to_json_line(row, {}), "test");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->metrics, sample_row().metrics);
}

TEST(Row, BytesThatAreNoTextDoNotBreakTheLine) {
  Row row = sample_row();
  row.proof = "\xff\xfe\n\"";
  EXPECT_TRUE(row_from_json(to_json_line(row, {}), "test"));
}

TEST(Row, AnotherSchemaIsRefusedByNumber) {
  auto row = row_from_json(R"({"schema":2})", "rows.jsonl:3");
  ASSERT_FALSE(row);
  EXPECT_EQ(row.error().code, Errc::kMismatch);
  EXPECT_NE(row.error().message.find("rows.jsonl:3"), std::string::npos);
}

TEST(Row, DamageIsReportedWithItsLine) {
  const TemporaryDirectory directory;
  const std::string good = to_json_line(sample_row(), {});
  const std::string path = directory.write("rows.jsonl", good + "{\"schema\":1}\n" + good);
  auto rows = read_rows(path);
  ASSERT_FALSE(rows);
  EXPECT_EQ(rows.error().code, Errc::kCorruption);
  EXPECT_NE(rows.error().message.find("rows.jsonl:2"), std::string::npos);
}

TEST(Row, ATornLastLineIsIgnored) {
  const TemporaryDirectory directory;
  const std::string good = to_json_line(sample_row(), {{"cpu", "c"}});
  const std::string path = directory.write("rows.jsonl", good + good.substr(0, 40));
  auto rows = read_rows(path);
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->size(), 1U);
  auto host = read_host_facts(path);
  ASSERT_TRUE(host);
  EXPECT_EQ(*host, (HostFacts{{"cpu", "c"}}));
}

}  // namespace
}  // namespace stasis::experiments
