// Axes, charts and exports: that what was measured stands where it should.
#include "experiments/report/chart.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/catalog.h"
#include "experiments/report/export.h"
#include "experiments/report/figures.h"
#include "experiments/report/loaded_run.h"
#include "experiments/report/scale.h"
#include "tests/experiments/sample_run.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Interval around(double value) {
  return {.estimate = value, .low = 0.9 * value, .high = 1.1 * value};
}

TEST(ChartScale, ALinearAxisBeginsAtZeroAndEndsAtARoundValue) {
  const ChartScale scale(Axis::kLinear, 3, 42, 1, 100, 200);
  EXPECT_THAT(scale.ticks(), ElementsAre(0, 10, 20, 30, 40, 50));
  EXPECT_DOUBLE_EQ(scale.place(0), 100);
  EXPECT_DOUBLE_EQ(scale.place(50), 200);
  EXPECT_DOUBLE_EQ(scale.place(25), 150);
}

TEST(ChartScale, RoundValuesCountInTheUnitOfTheLabels) {
  const double mib = 1024.0 * 1024;
  const ChartScale scale(Axis::kLinear, 0, 19 * mib, mib, 0, 1);
  EXPECT_THAT(scale.ticks(), ElementsAre(0, 5 * mib, 10 * mib, 15 * mib, 20 * mib));
}

TEST(ChartScale, ALogarithmicAxisHasDecades) {
  const ChartScale scale(Axis::kLogarithmic, 3, 40000, 1, 0, 5);
  ASSERT_EQ(scale.ticks().size(), 6U);
  EXPECT_NEAR(scale.ticks().front(), 1, 1e-9);
  EXPECT_NEAR(scale.ticks().back(), 1e5, 1e-4);
  EXPECT_NEAR(scale.place(100), 2, 1e-9);
}

TEST(ChartScale, NothingMeasuredIsStillAnAxis) {
  const ChartScale scale(Axis::kLinear, 0, 0, 1, 0, 10);
  EXPECT_TRUE(std::isfinite(scale.place(0)));
  EXPECT_FALSE(scale.ticks().empty());
}

TEST(LineChartSvg, ShowsLinesPointsIntervalsAndThePapersPoints) {
  LineChart chart{
      .title = "A <title>",
      .x_label = "pages",
      .metric = "save_ns",
      .series = {{.name = "compare", .points = {{1, around(1e6)}, {10, around(2e6)}}},
                 {.name = "Paper & Co", .points = {{5, around(3e6)}}, .is_published = true}}};
  const std::string svg = render(chart);
  EXPECT_THAT(svg, HasSubstr("aria-label=\"A &lt;title&gt;\""));
  EXPECT_THAT(svg, HasSubstr("compare, 10: 2 ms (1.80 - 2.20 ms)"));
  EXPECT_THAT(svg, HasSubstr("class=\"interval\""));
  EXPECT_THAT(svg, HasSubstr("Paper &amp; Co"));
  EXPECT_THAT(svg, HasSubstr("class=\"published\""));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  chart.series.clear();
  EXPECT_EQ(render(chart), "");
}

TEST(LineChartSvg, ALogarithmicAxisLeavesOutWhatHasNoPlaceOnIt) {
  const LineChart chart{.title = "t",
                        .x_label = "x",
                        .metric = "a_ns",
                        .x_axis = Axis::kLogarithmic,
                        .y_axis = Axis::kLogarithmic,
                        .series = {{.name = "s", .points = {{1, {}}, {10, around(1e3)}}}}};
  const std::string svg = render(chart);
  EXPECT_THAT(svg, HasSubstr("s, 10: "));
  EXPECT_THAT(svg, Not(HasSubstr("s, 1: ")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(StackedBarsSvg, PartsFollowEachOther) {
  const StackedBars bars{.title = "phases",
                         .metric = "phase_ns",
                         .parts = {"first", "second"},
                         .rows = {{.name = "cell", .values = {1e6, 3e6}}}};
  const std::string svg = render(bars);
  EXPECT_THAT(svg, HasSubstr("cell, first: 1 ms"));
  EXPECT_THAT(svg, HasSubstr("cell, second: 3 ms"));
  EXPECT_THAT(svg, HasSubstr(">4 ms<"));
  EXPECT_EQ(render(StackedBars{}), "");
}

TEST(Figures, ALevelBeginsWithItsNumber) {
  EXPECT_EQ(leading_number("10 %"), 10);
  EXPECT_EQ(leading_number("64M"), 64);
  EXPECT_FALSE(leading_number("all"));
  EXPECT_FALSE(leading_number(""));
}

CellSummary cell(const std::string& id, Factors factors, double ns) {
  CellSummary summary;
  summary.cell = {.id = id,
                  .factors = std::move(factors),
                  .headline = "save_ns",
                  .floor_cell = {},
                  .floor_metric = {}};
  summary.trials = 3;
  MetricSummary metric;
  metric.median = around(ns);
  metric.trials = 3;
  summary.metrics["save_ns"] = metric;
  return summary;
}

constexpr PaperPoint kPoints[] = {{"Paper", 5, 7}};
constexpr Figure kFigure = {.title = "T",
                            .caption = "C",
                            .cell_prefix = "a/",
                            .x_factor = "dirty",
                            .x_label = "dirty",
                            .series_factor = "tracker",
                            .metric = "save_ns",
                            .paper = kPoints};

TEST(Figures, CellsBecomeLinesByTheirFactors) {
  const std::vector<CellSummary> cells = {cell("a/2", {{"tracker", "x"}, {"dirty", "20 %"}}, 2),
                                          cell("a/1", {{"tracker", "x"}, {"dirty", "10 %"}}, 1),
                                          cell("a/3", {{"tracker", "y"}, {"dirty", "10 %"}}, 3),
                                          cell("a/4", {{"tracker", "y"}, {"dirty", "all"}}, 4),
                                          cell("b/5", {{"tracker", "x"}, {"dirty", "30 %"}}, 5)};
  const ReportFigure figure = make_figure(kFigure, cells);
  ASSERT_EQ(figure.chart.series.size(), 2U);  // y has one point where x has two: left out.
  EXPECT_EQ(figure.chart.series[0].name, "x");
  ASSERT_EQ(figure.chart.series[0].points.size(), 2U);
  EXPECT_EQ(figure.chart.series[0].points[0].x, 10);
  EXPECT_EQ(figure.chart.series[0].points[1].y.estimate, 2);
  EXPECT_TRUE(figure.chart.series[1].is_published);
}

TEST(Figures, WithoutCellsThereIsNoFigureNotEvenAPapers) {
  EXPECT_TRUE(make_figure(kFigure, {}).chart.series.empty());
}

TEST(Figures, PhasesAreTheDistancesOfMilestones) {
  CellSummary summary = cell("restore/lazy", {}, 0);
  const auto at = [&](const char* name, double ns) {
    summary.metrics[name].median = {.estimate = ns, .low = ns, .high = ns};
  };
  at("header_ns", 10);
  at("vm_created_ns", 30);
  at("vcpu_enter_ns", 100);
  at("first_response_ns", 400);
  const StackedBars bars = phases_of(std::vector{summary, cell("save/full", {}, 1)});
  ASSERT_EQ(bars.rows.size(), 1U);
  EXPECT_THAT(bars.rows[0].values, ElementsAre(10, 20, 0, 0, 0, 70, 0, 300));
}

TEST(Export, WritesEveryCellTrialCheckAndFigure) {
  const TemporaryDirectory directory;
  const Plan plan = sample_plan();
  write_run(directory.path(), plan, [](Row& row) {
    row.metrics = {{"save_ns", 100.0 + row.block}, {"written_bytes", 5}};
  });
  auto run = load_run(directory.path());
  ASSERT_TRUE(run) << run.error().to_string();
  const RowTable table = run->table();
  ReportData data;
  data.plan = plan;
  data.cells = summarize(plan, table);
  data.checks = {{.name = "c", .requirement = "with, a comma", .figures = "and \"quotes\""}};
  data.figures = {{.title = "it's",
                   .caption = {},
                   .chart = {.title = "it's",
                             .x_label = "x",
                             .metric = "save_ns",
                             .series = {{.name = "s", .points = {{1, around(2)}}}}}}};
  const std::string out = directory.file("csv/deep");
  ASSERT_TRUE(export_run(out, data, table));
  const std::string cells = *read_text_file(out + "/cells.csv");
  EXPECT_THAT(cells, HasSubstr("cell,kind,tracker,dirty,metric,is_headline,trials"));
  EXPECT_THAT(cells,
              HasSubstr("save/diff/compare/dirty10,save,compare,10 %,save_ns,1,10,0,100,104.5"));
  EXPECT_THAT(*read_text_file(out + "/trials.csv"), HasSubstr("save/full,9,0,0,0,save_ns,109\n"));
  EXPECT_THAT(*read_text_file(out + "/checks.csv"),
              HasSubstr("c,\"with, a comma\",n/a,0,0,0,0,0,\"and \"\"quotes\"\"\"\n"));
  EXPECT_THAT(*read_text_file(out + "/figure-1.dat"), HasSubstr("1 2 1.8 2.2\n"));
  EXPECT_THAT(*read_text_file(out + "/figure-1.gnuplot"), HasSubstr("set title 'it''s'"));
}

}  // namespace
}  // namespace stasis::experiments
