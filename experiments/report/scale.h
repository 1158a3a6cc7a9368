// The axis of a chart: from values to places, and where its lines and labels stand. Pure.
#pragma once

#include <vector>

#include "experiments/harness/figure.h"

namespace stasis::experiments {

// Value.
class ChartScale {
 public:
  // A linear axis begins at 0; both end at a round value at or behind `greatest`. `unit` is what
  // the labels count in: their round values are multiples of it. On a logarithmic axis both must be
  // positive.
  ChartScale(Axis axis, double least, double greatest, double unit, double from, double to);

  [[nodiscard]] double place(double value) const;
  // Ascending, of the whole axis.
  [[nodiscard]] const std::vector<double>& ticks() const { return ticks_; }

 private:
  Axis axis_;
  double low_ = 0, high_ = 1;  // Of logarithms on a logarithmic axis.
  double from_, to_;
  std::vector<double> ticks_;
};

}  // namespace stasis::experiments
