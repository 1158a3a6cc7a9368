// Charts of one row a cell: parts that add up, and ratios around 1.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/report/chart.h"
#include "experiments/report/format.h"
#include "experiments/report/scale.h"

namespace stasis::experiments {
namespace {

constexpr double kWidth = 960, kLabel = 300, kValue = 96, kRow = 24, kTop = 8, kAxis = 28;
constexpr double kLetter = 7.3, kLegendRow = 22, kLegendGap = 40;
constexpr double kRatioMin = 0.5, kRatioMax = 2;  // Of the axis, at the least.

std::string name_text(const std::string& name, double y) {
  return fmt::format(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLabel - 10, y + 14,
                     escaped(name));
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char character : text) {
    switch (character) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += character;
    }
  }
  return safe;
}

std::string series_class(std::size_t index) {
  constexpr std::size_t kColours = 8;
  return fmt::format("s{}", index % kColours);
}

std::string render(const StackedBars& bars) {
  double greatest = 0;
  for (const StackedBars::Row& row : bars.rows) {
    greatest = std::max(greatest, std::accumulate(row.values.begin(), row.values.end(), 0.0));
  }
  if (greatest <= 0) {
    return {};
  }
  double x = kLabel;
  double y = kTop + 6;
  std::string legend;
  for (std::size_t i = 0; i < bars.parts.size(); ++i) {
    const double width = kLegendGap + kLetter * static_cast<double>(bars.parts[i].size());
    if (x > kLabel && x + width > kWidth) {
      x = kLabel;
      y += kLegendRow;
    }
    legend += fmt::format(R"(<rect class="part {}" x="{:.1f}" y="{:.1f}" width="12" height="12"/>)"
                          R"(<text x="{:.1f}" y="{:.1f}">{}</text>)",
                          series_class(i), x, y, x + 17, y + 11, escaped(bars.parts[i]));
    x += width;
  }
  y += kLegendRow + 2;
  const double top = y;
  const double bottom = top + kRow * static_cast<double>(bars.rows.size());
  const ChartScale scale(Axis::kLinear, 0, greatest, unit_of(bars.metric, greatest).divisor, kLabel,
                         kWidth - kValue);
  std::string rows;
  for (const double tick : scale.ticks()) {
    rows += fmt::format(
        R"(<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>)"
        R"(<text class="tick" x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>)",
        scale.place(tick), top, bottom + 4, bottom + 19, escaped(format_value(bars.metric, tick)));
  }
  for (const StackedBars::Row& row : bars.rows) {
    double sum = 0;
    rows += name_text(row.name, y);
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      const double from = scale.place(sum);
      sum += row.values[i];
      rows +=
          fmt::format(R"(<rect class="part {}" x="{:.1f}" y="{:.1f}" width="{:.2f}" height="16">)"
                      R"(<title>{}, {}: {}</title></rect>)",
                      series_class(i), from, y + 3, scale.place(sum) - from, escaped(row.name),
                      escaped(bars.parts.at(i)), format_value(bars.metric, row.values[i]));
    }
    rows += fmt::format(R"(<text x="{:.1f}" y="{:.1f}">{}</text>)", scale.place(sum) + 7, y + 15,
                        format_value(bars.metric, sum));
    y += kRow;
  }
  return fmt::format(R"(<svg class="rows" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">)",
                     kWidth, bottom + kAxis, escaped(bars.title)) +
         legend + rows + "</svg>\n";
}

std::string render(const ForestPlot& plot) {
  if (plot.rows.empty()) {
    return {};
  }
  double low = std::log2(kRatioMin);
  double high = std::log2(kRatioMax);
  for (const ForestPlot::Row& row : plot.rows) {
    low = std::min(low, std::floor(std::log2(std::max(row.ratio.low, 1e-3))));
    high = std::max(high, std::ceil(std::log2(std::max(row.ratio.high, 1e-3))));
  }
  const auto place = [&](double ratio) {
    return kLabel +
           (std::log2(std::max(ratio, 1e-3)) - low) / (high - low) * (kWidth - kValue - kLabel);
  };
  const double bottom = kTop + kRow * static_cast<double>(plot.rows.size());
  std::string svg =
      fmt::format(R"(<svg class="rows" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">)"
                  R"(<rect class="band" x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}"/>)",
                  kWidth, bottom + kAxis, escaped(plot.title), place(1 - plot.threshold), kTop,
                  place(1 + plot.threshold) - place(1 - plot.threshold), bottom - kTop);
  for (double power = low; power <= high; ++power) {
    const double ratio = std::exp2(power);
    svg += fmt::format(
        R"(<line class="{0}" x1="{1:.1f}" x2="{1:.1f}" y1="{2}" y2="{3:.1f}"/>)"
        R"(<text class="tick" x="{1:.1f}" y="{4:.1f}" text-anchor="middle">{5:g} x</text>)",
        power == 0 ? "axis" : "grid", place(ratio), kTop, bottom + 4, bottom + 19, ratio);
  }
  double y = kTop;
  for (const ForestPlot::Row& row : plot.rows) {
    svg += name_text(row.name, y);
    svg += fmt::format(
        R"(<g class="ratio {0}"><line x1="{1:.1f}" x2="{2:.1f}" y1="{3:.1f}" y2="{3:.1f}"/>)"
        R"(<circle cx="{4:.1f}" cy="{3:.1f}" r="4"/></g>)"
        R"(<text x="{5}" y="{6:.1f}">{7:+.1f} %</text>)",
        row.style, place(row.ratio.low), place(row.ratio.high), y + 11, place(row.ratio.estimate),
        kWidth - kValue + 14, y + 15, 100 * (row.ratio.estimate - 1));
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace stasis::experiments
