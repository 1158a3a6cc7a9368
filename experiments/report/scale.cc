#include "experiments/report/scale.h"

#include <algorithm>
#include <cmath>

namespace stasis::experiments {
namespace {

constexpr double kTicksWanted = 5;
constexpr double kDecadesForMoreTicks = 2.01;

// The smallest of 1, 2, 5 times a power of ten that is at least `value`.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (step * power >= value * (1 - 1e-9)) {
      return step * power;
    }
  }
  return 10 * power;
}

}  // namespace

ChartScale::ChartScale(Axis axis, double least, double greatest, double unit, double from,
                       double to)
    : axis_(axis), from_(from), to_(to) {
  if (axis == Axis::kLinear) {
    const double step = greatest > 0 ? round_up(greatest / unit / kTicksWanted) * unit : unit;
    const double count = greatest > 0 ? std::ceil(greatest / step * (1 - 1e-9)) : 1;
    high_ = step * count;
    for (double i = 0; i <= count; ++i) {
      ticks_.push_back(step * i);
    }
    return;
  }
  low_ = std::floor(std::log10(least / unit) + 1e-9) + std::log10(unit);
  high_ = std::ceil(std::log10(greatest / unit) - 1e-9) + std::log10(unit);
  high_ = std::max(high_, low_ + 1);
  const bool is_short = high_ - low_ < kDecadesForMoreTicks;
  for (double decade = low_; decade <= high_ + 1e-9; ++decade) {
    ticks_.push_back(std::pow(10, decade));
    if (is_short && decade < high_ - 1e-9) {
      ticks_.push_back(2 * std::pow(10, decade));
      ticks_.push_back(5 * std::pow(10, decade));
    }
  }
}

double ChartScale::place(double value) const {
  const double at = axis_ == Axis::kLinear ? value : std::log10(std::max(value, 1e-300));
  const double share = high_ > low_ ? (at - low_) / (high_ - low_) : 0;
  return from_ + std::clamp(share, -0.05, 1.05) * (to_ - from_);
}

}  // namespace stasis::experiments
