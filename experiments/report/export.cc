#include "experiments/report/export.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <system_error>

#include "experiments/harness/text_file.h"
#include "experiments/report/format.h"

namespace stasis::experiments {
namespace {

// RFC 4180: quoted where it must be.
std::string field(std::string_view text) {
  if (text.find_first_of(",\"\n\r") == std::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char character : text) {
    quoted += character == '"' ? "\"\"" : std::string(1, character);
  }
  return quoted + "\"";
}

// Every factor that any cell has, in the order of their first cells.
std::vector<std::string> factor_names(const Plan& plan) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Cell& cell : plan.cells) {
    for (const auto& [name, level] : cell.factors) {
      if (seen.insert(name).second) {
        names.push_back(name);
      }
    }
  }
  return names;
}

std::string levels(const Cell& cell, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    std::string level;
    for (const auto& [factor, value] : cell.factors) {
      level = factor == name ? value : level;
    }
    text += "," + field(level);
  }
  return text;
}

std::string cells_csv(const ReportData& data, const std::vector<std::string>& factors) {
  std::string csv = "cell";
  for (const std::string& name : factors) {
    csv += "," + field(name);
  }
  csv += ",metric,is_headline,trials,tainted,min,median,low,high,p90,max,detectable\n";
  for (const CellSummary& cell : data.cells) {
    for (const auto& [name, metric] : cell.metrics) {
      csv += fmt::format("{}{},{},{},{},{},{},{},{},{},{},{},{}\n", field(cell.cell.id),
                         levels(cell.cell, factors), field(name),
                         name == cell.cell.headline ? 1 : 0, metric.trials, cell.tainted,
                         metric.min, metric.median.estimate, metric.median.low, metric.median.high,
                         metric.p90, metric.max, metric.minimum_detectable_effect);
    }
  }
  return csv;
}

std::string trials_csv(const RowTable& table) {
  std::string csv = "cell,block,order,tainted,wall_ns,metric,value\n";
  for (const Row& row : table.rows()) {
    for (const auto& [name, value] : row.metrics) {
      csv += fmt::format("{},{},{},{},{},{},{}\n", field(row.cell), row.block, row.order,
                         row.tainted() ? 1 : 0, row.wall_ns, field(name), value);
    }
  }
  return csv;
}

std::string checks_csv(const ReportData& data) {
  std::string csv = "check,requirement,verdict,within_noise,value,low,high,limit,figures\n";
  for (const CheckOutcome& check : data.checks) {
    csv += fmt::format("{},{},{},{},{},{},{},{},{}\n", field(check.name), field(check.requirement),
                       name_of(check.verdict), check.within_noise ? 1 : 0, check.value, check.low,
                       check.high, check.limit, field(check.figures));
  }
  return csv;
}

// One block a series, as gnuplot's "index" counts them, separated by two empty lines.
std::string gnuplot_data(const LineChart& chart) {
  std::string data = "# x median low high\n";
  for (const ChartSeries& series : chart.series) {
    data += fmt::format("# {}\n", series.name);
    for (const ChartPoint& point : series.points) {
      data += fmt::format("{} {} {} {}\n", point.x, point.y.estimate, point.y.low, point.y.high);
    }
    data += "\n\n";
  }
  return data;
}

// Inside single quotes of gnuplot, where a quote is doubled.
std::string gnuplot_text(std::string_view text) {
  std::string safe = "'";
  for (const char character : text) {
    safe += character == '\'' ? "''" : std::string(1, character == '\n' ? ' ' : character);
  }
  return safe + "'";
}

std::string gnuplot_script(const LineChart& chart, const std::string& name) {
  double greatest = 0;
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      greatest = std::max(greatest, point.y.high);
    }
  }
  const Unit unit = unit_of(chart.metric, greatest);
  std::string script = fmt::format(
      "set terminal svg size 720,480 enhanced background rgb 'white'\nset output '{}.svg'\n"
      "set termoption noenhanced\nset title {}\nset xlabel {}\nset ylabel {}\nset key outside\n"
      "set grid\n",
      name, gnuplot_text(chart.title), gnuplot_text(chart.x_label),
      gnuplot_text(unit.name.empty() ? chart.metric
                                     : fmt::format("{} ({})", chart.metric, unit.name)));
  script += chart.x_axis == Axis::kLogarithmic ? "set logscale x\n" : "";
  script += chart.y_axis == Axis::kLogarithmic ? "set logscale y\n" : "set yrange [0:*]\n";
  script += "plot \\\n";
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    script +=
        fmt::format("  '{}.dat' index {} using 1:($2/{}):($3/{}):($4/{}) with {} title {}{}\n",
                    name, i, unit.divisor, unit.divisor, unit.divisor,
                    chart.series[i].is_published ? "yerrorbars" : "yerrorlines",
                    gnuplot_text(chart.series[i].name), i + 1 < chart.series.size() ? ", \\" : "");
  }
  return script;
}

}  // namespace

Result<void> export_run(const std::string& directory, const ReportData& data,
                        const RowTable& table) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) {
    return errno_error(failed.value(), "create directory " + directory);
  }
  STASIS_TRY(write_text_file(directory + "/cells.csv", cells_csv(data, factor_names(data.plan))));
  STASIS_TRY(write_text_file(directory + "/trials.csv", trials_csv(table)));
  STASIS_TRY(write_text_file(directory + "/checks.csv", checks_csv(data)));
  std::size_t number = 0;
  for (const ReportFigure& figure : data.figures) {
    if (figure.chart.series.empty()) {
      continue;
    }
    const std::string name = fmt::format("figure-{}", ++number);
    STASIS_TRY(
        write_text_file(fmt::format("{}/{}.dat", directory, name), gnuplot_data(figure.chart)));
    STASIS_TRY(write_text_file(fmt::format("{}/{}.gnuplot", directory, name),
                               gnuplot_script(figure.chart, name)));
  }
  return {};
}

}  // namespace stasis::experiments
