#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "experiments/report/chart.h"
#include "experiments/report/format.h"
#include "experiments/report/scale.h"

namespace stasis::experiments {
namespace {

constexpr double kWidth = 640, kPlotHeight = 280, kLeft = 78, kRight = 18, kTop = 14;
constexpr double kAxisHeight = 48;
constexpr double kLegendRow = 20, kLegendMark = 30, kLetter = 6.9, kLegendGap = 18;
constexpr std::size_t kDashesFrom = 8;  // As many colours there are.

// The least and the greatest of what will be drawn.
struct Extent {
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
  void add(double value, Axis axis) {
    if (std::isfinite(value) && (axis == Axis::kLinear || value > 0)) {
      least = std::min(least, value);
      greatest = std::max(greatest, value);
    }
  }
  [[nodiscard]] bool is_empty() const { return least > greatest; }
};

std::string count_label(double value) {
  return value >= 1e4 && std::fmod(value, 1000) == 0 && value < 1e6
             ? fmt::format("{:.0f}k", value / 1000)
             : fmt::format("{:g}", value);
}

class LineChartSvg {
 public:
  explicit LineChartSvg(const LineChart& chart) : chart_(chart) {
    for (const ChartSeries& series : chart.series) {
      for (const ChartPoint& point : series.points) {
        x_.add(point.x, chart.x_axis);
        y_.add(point.y.estimate, chart.y_axis);
        y_.add(point.y.high, chart.y_axis);
        y_.add(point.y.low, chart.y_axis);
      }
    }
    if (is_empty()) {
      return;
    }
    const std::string_view x_metric = chart.is_x_metric ? chart.metric : std::string_view();
    const std::string_view y_metric = chart.is_x_metric ? std::string_view() : chart.metric;
    x_scale_.emplace(chart.x_axis, x_.least, x_.greatest, unit_of(x_metric, x_.greatest).divisor,
                     kLeft, kWidth - kRight);
    y_scale_.emplace(chart.y_axis, y_.least, chart.is_x_metric ? 1 : y_.greatest,
                     unit_of(y_metric, y_.greatest).divisor, kTop + kPlotHeight, kTop);
  }
  [[nodiscard]] bool is_empty() const { return x_.is_empty() || y_.is_empty(); }

  [[nodiscard]] std::string draw() const {
    const Legend keys = legend();
    std::string svg =
        fmt::format(R"(<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">)",
                    kWidth, keys.bottom, escaped(chart_.title));
    svg += grid();
    for (const ChartSeries& series : chart_.series) {
      svg += line(series);
    }
    return svg + keys.svg + "</svg>\n";
  }

 private:
  [[nodiscard]] std::string x_text(double value) const {
    return chart_.is_x_metric ? format_value(chart_.metric, value) : count_label(value);
  }
  [[nodiscard]] std::string y_text(double value) const {
    return chart_.is_x_metric ? fmt::format("{:.0f} %", 100 * value)
                              : format_value(chart_.metric, value);
  }

  [[nodiscard]] std::string grid() const {
    std::string svg;
    const double bottom = kTop + kPlotHeight;
    for (const double tick : y_scale_->ticks()) {
      const double y = y_scale_->place(tick);
      svg += fmt::format(R"(<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>)"
                         R"(<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>)",
                         kLeft, kWidth - kRight, y, y, kLeft - 8, y + 4, escaped(y_text(tick)));
    }
    for (const double tick : x_scale_->ticks()) {
      const double x = x_scale_->place(tick);
      svg +=
          fmt::format(R"(<line class="axis" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>)"
                      R"(<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>)",
                      x, bottom, bottom + 5, bottom + 19, escaped(x_text(tick)));
    }
    return svg + fmt::format(R"(<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>)"
                             R"(<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>)",
                             kLeft, kWidth - kRight, bottom, bottom, (kLeft + kWidth - kRight) / 2,
                             bottom + 40, escaped(chart_.x_label));
  }

  // Shapes differ as well as colours, for readers who cannot tell these and for print.
  static std::string mark(std::size_t index, double x, double y) {
    switch (index % 4) {
      case 0:
        return fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3.6"/>)", x, y);
      case 1:
        return fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="6.6" height="6.6"/>)", x - 3.3,
                           y - 3.3);
      case 2:
        return fmt::format(R"(<path d="M{:.1f} {:.1f}l4.2 7.4h-8.4z"/>)", x, y - 4.6);
      default:
        return fmt::format(R"(<path d="M{:.1f} {:.1f}l4.4 4.4l-4.4 4.4l-4.4 -4.4z"/>)", x, y - 4.4);
    }
  }

  // A cross, as nothing that was measured has.
  static std::string published_mark(double x, double y) {
    return fmt::format(R"(<path class="published" d="M{0:.1f} {1:.1f}l8 8m0 -8l-8 8"/>)", x - 4,
                       y - 4);
  }

  [[nodiscard]] std::string point(const ChartPoint& point, const ChartSeries& series) const {
    const double x = x_scale_->place(point.x);
    const double y = y_scale_->place(point.y.estimate);
    std::string svg = "<g>";
    if (point.y.high > point.y.low) {
      svg += fmt::format(
          R"(<line class="interval" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>)", x,
          y_scale_->place(point.y.low), y_scale_->place(point.y.high));
    }
    svg += series.is_published ? published_mark(x, y) : mark(series.style, x, y);
    svg += fmt::format("<title>{}, {}: {}", escaped(series.name), x_text(point.x),
                       y_text(point.y.estimate));
    if (point.y.high > point.y.low) {
      svg += fmt::format(" ({})", escaped(format_interval(chart_.metric, point.y)));
    }
    return svg + "</title></g>";
  }

  [[nodiscard]] static std::string group(const ChartSeries& series) {
    return fmt::format(R"(<g class="series {}{}">)", series_class(series.style),
                       series.style >= kDashesFrom ? " dashed" : "");
  }

  [[nodiscard]] std::string line(const ChartSeries& series) const {
    std::string path;
    std::string points;
    for (const ChartPoint& each : series.points) {
      if (chart_.y_axis == Axis::kLogarithmic && each.y.estimate <= 0) {
        continue;  // It has no place; the table has it.
      }
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x_scale_->place(each.x),
                          y_scale_->place(each.y.estimate));
      points += series.is_dense ? std::string() : point(each, series);
    }
    std::string svg = group(series);
    if (!series.is_published && !path.empty()) {
      svg += fmt::format(R"(<path class="line" d="{}"/>)", path);
    }
    return svg + points + "</g>";
  }

  // Below the plot, as many in a row as there is room for.
  struct Legend {
    std::string svg;
    double bottom = 0;
  };
  [[nodiscard]] Legend legend() const {
    double x = kLeft;
    double y = kTop + kPlotHeight + kAxisHeight + 12;
    std::string svg;
    for (const ChartSeries& series : chart_.series) {
      const double width =
          kLegendMark + kLetter * static_cast<double>(series.name.size()) + kLegendGap;
      if (x > kLeft && x + width > kWidth) {
        x = kLeft;
        y += kLegendRow;
      }
      svg += group(series);
      if (!series.is_published) {
        svg += fmt::format(R"(<path class="line" d="M{:.1f} {:.1f}h22"/>)", x, y);
      }
      if (!series.is_dense) {
        svg += series.is_published ? published_mark(x + 11, y) : mark(series.style, x + 11, y);
      }
      svg += fmt::format(R"(</g><text x="{:.1f}" y="{:.1f}">{}</text>)", x + kLegendMark, y + 4,
                         escaped(series.name));
      x += width;
    }
    return {.svg = std::move(svg), .bottom = y + 14};
  }

  const LineChart& chart_;
  Extent x_, y_;
  std::optional<ChartScale> x_scale_, y_scale_;
};

}  // namespace

std::string render(const LineChart& chart) {
  const LineChartSvg svg(chart);
  return svg.is_empty() ? std::string() : svg.draw();
}

}  // namespace stasis::experiments
