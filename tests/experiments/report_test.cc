#include "experiments/report/report.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/report/format.h"

namespace stasis::experiments {
namespace {

using testing::HasSubstr;
using testing::Not;

ReportData sample() {
  ReportData data;
  data.plan.experiment = "restore_latency";
  data.plan.backend = "kvm";
  data.plan.scale = "full";
  data.plan.seed = 17;
  data.host = {{"cpu", "A <fast> & \"big\" CPU"}, {"commit", "abc123"}};
  CellSummary lazy;
  lazy.cell = {.id = "restore/lazy/1024M",
               .factors = {},
               .headline = "first_instruction_ns",
               .floor_cell = "floor/bare_kvm/1024M",
               .floor_metric = "first_instruction_ns"};
  lazy.trials = 30;
  lazy.tainted = 2;
  MetricSummary metric;
  metric.trials = 30;
  metric.median = {.estimate = 1.5e6, .low = 1.4e6, .high = 1.6e6};
  metric.min = 1.3e6;
  metric.p90 = 1.9e6;
  lazy.metrics = {{"first_instruction_ns", metric}};
  lazy.times_floor = Interval{.estimate = 1.25, .low = 1.2, .high = 1.3};
  CellSummary absent;
  absent.cell = {.id = "restore/never",
                 .factors = {},
                 .headline = "x_ns",
                 .floor_cell = {},
                 .floor_metric = {}};
  data.cells = {lazy, absent};
  data.checks = {{.name = "lazy",
                  .requirement = "at most 1.3 x",
                  .verdict = CheckOutcome::Verdict::kPass,
                  .value = 1.25,
                  .low = 1.2,
                  .high = 1.3,
                  .limit = 1.3,
                  .figures = "1.5 ms / 1.2 ms"}};
  data.rows = 30;
  data.tainted = 2;
  data.taints = {{"steal", 2}};
  return data;
}

TEST(Report, TextHoldsEverythingAReaderNeeds) {
  const std::string text = render_text(sample());
  for (const char* part :
       {"restore_latency on kvm, full run, seed 17", "A <fast> & \"big\" CPU", "abc123",
        "restore/lazy/1024M", "30*", "1.50 ms", "1.40 - 1.60 ms", "1.90 ms", "1.25 x",
        "not measured", "pass", "at most 1.3 x", "1.250 (1.200 - 1.300)", "1.5 ms / 1.2 ms",
        "30 trials, 2 tainted, 0 failed", "tainted 2 x: steal"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("NOT QUOTABLE")));
  EXPECT_TRUE(text.ends_with('\n'));
}

TEST(Report, HtmlStandsAloneAndHoldsTheSame) {
  const std::string html = render_html(sample());
  for (const char* part : {"<!DOCTYPE html>", "prefers-color-scheme: dark", "<svg", "1.50 ms",
                           "restore/lazy/1024M", "1.25 x", "class=\"pass\"", "abc123", "steal"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  for (const char* outside : {"http://", "https://", "<script", "<link", "src="}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(Report, WhatRowsSayIsEscaped) {
  ReportData data = sample();
  data.errors = {"<script>alert(1)</script>"};
  const std::string html = render_html(data);
  EXPECT_THAT(html, HasSubstr("A &lt;fast&gt; &amp; &quot;big&quot; CPU"));
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
}

TEST(Report, ARunThatMustNotBeQuotedSaysSoFirst) {
  ReportData data = sample();
  data.not_quotable_because = "this is a Debug build";
  EXPECT_THAT(render_text(data).substr(0, 200), HasSubstr("NOT QUOTABLE: this is a Debug build"));
  EXPECT_THAT(render_html(data), HasSubstr("Not quotable: this is a Debug build"));
}

TEST(Report, AVerdictWithinNoiseSaysSoAndWhatItMeans) {
  ReportData data = sample();
  EXPECT_THAT(render_text(data), Not(HasSubstr("within noise")));
  data.checks[0].within_noise = true;
  EXPECT_THAT(render_text(data), HasSubstr("  pass, within noise  at most 1.3 x\n"));
  EXPECT_THAT(render_text(data), HasSubstr("another run may decide otherwise"));
  EXPECT_THAT(render_html(data), HasSubstr("<td class=\"warn\">pass, within noise</td>"));
}

TEST(Report, ARunWithoutAnyRowIsStillAReport) {
  ReportData data;
  data.plan = sample().plan;
  EXPECT_THAT(render_text(data), HasSubstr("0 trials"));
  EXPECT_THAT(render_html(data), HasSubstr("</html>"));
}

TEST(Format, UnitsComeFromTheMetricsName) {
  EXPECT_EQ(format_value("x_ns", 12), "12 ns");
  EXPECT_EQ(format_value("x_ns", 1234), "1.23 us");
  EXPECT_EQ(format_value("x_ns", 45.6e6), "45.6 ms");
  EXPECT_EQ(format_value("x_ns", 2.5e9), "2.50 s");
  EXPECT_EQ(format_value("x_bytes", 64.0 * 1024 * 1024), "64 MiB");
  EXPECT_EQ(format_value("faults", 17), "17");
}

TEST(Format, AValueWithoutAnIntervalNeverReadsAsOneUnlessItIsOne) {
  const auto shown = [](double value) {
    return format_check({.name = {},
                         .requirement = {},
                         .verdict = CheckOutcome::Verdict::kPass,
                         .value = value,
                         .low = value,
                         .high = value,
                         .figures = {}});
  };
  EXPECT_EQ(shown(0.99996), "0.99996");
  EXPECT_EQ(shown(0.9999999994), "0.999999999");
  EXPECT_NE(shown(std::nextafter(1.0, 0.0)), "1");
  EXPECT_EQ(shown(0.9943), "0.994");
  EXPECT_EQ(shown(1), "1");
  EXPECT_EQ(shown(0), "0");
  EXPECT_EQ(shown(38.04), "38");
}

}  // namespace
}  // namespace stasis::experiments
