#include "experiments/report/format.h"

#include <fmt/format.h>

#include <cmath>

namespace stasis::experiments {
namespace {

// Three significant digits, without an exponent in the ranges that occur.
std::string digits(double value) {
  const double size = std::abs(value);
  if (size >= 100 || value == std::floor(value)) {
    return fmt::format("{:.0f}", value);
  }
  return size >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

// Three significant digits, but a value below 1 never reads as 1: an R^2 of 0.99996 is not a
// perfect fit, and a reader must see how far it is from one.
std::string three_digits(double value) {
  constexpr int kDigitsMax = 17;  // Tells every double from its neighbours.
  std::string text = fmt::format("{:.3g}", value);
  for (int count = 4; value < 1 && text == "1" && count <= kDigitsMax; ++count) {
    text = fmt::format("{:.{}g}", value, count);
  }
  return text;
}

std::string with_unit(const std::string& text, std::string_view unit) {
  return unit.empty() ? text : fmt::format("{} {}", text, unit);
}

}  // namespace

Unit unit_of(std::string_view metric, double value) {
  const double size = std::abs(value);
  if (metric.ends_with("_ns")) {
    if (size >= 1e9) {
      return {1e9, "s"};
    }
    if (size >= 1e6) {
      return {1e6, "ms"};
    }
    return size >= 1e3 ? Unit{1e3, "us"} : Unit{1, "ns"};
  }
  if (metric.ends_with("_bytes") || metric == "bytes") {
    if (size >= 1024.0 * 1024 * 1024) {
      return {1024.0 * 1024 * 1024, "GiB"};
    }
    if (size >= 1024.0 * 1024) {
      return {1024.0 * 1024, "MiB"};
    }
    return size >= 1024 ? Unit{1024.0, "KiB"} : Unit{1, "B"};
  }
  return {1, ""};
}

std::string format_value(std::string_view metric, double value) {
  const Unit unit = unit_of(metric, value);
  return with_unit(digits(value / unit.divisor), unit.name);
}

std::string format_interval(std::string_view metric, const Interval& interval) {
  const Unit unit = unit_of(metric, interval.estimate);
  return with_unit(fmt::format("{} - {}", digits(interval.low / unit.divisor),
                               digits(interval.high / unit.divisor)),
                   unit.name);
}

std::string format_ratio(double ratio) {
  return fmt::format("{:.2f} x", ratio);
}

std::string format_check(const CheckOutcome& check) {
  if (check.verdict == CheckOutcome::Verdict::kNotApplicable) {
    return "-";
  }
  return check.low == check.high
             ? three_digits(check.value)
             : fmt::format("{:.3f} ({:.3f} - {:.3f})", check.value, check.low, check.high);
}

}  // namespace stasis::experiments
