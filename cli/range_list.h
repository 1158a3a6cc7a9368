// Guest-physical ranges as `diff` and `verify-diff` show them.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string_view>

#include "cli/output.h"
#include "core/ranges.h"

namespace stasis::cli {

inline constexpr std::size_t kRangesShown = 20;

// Each as {"begin": ..., "bytes": ...}.
[[nodiscard]] nlohmann::ordered_json to_json(const GpaRanges& ranges);

// One a line, the first `shown_max`; if there are more, how many and the option that shows them.
void print_lines(const GpaRanges& ranges, std::size_t shown_max, std::string_view option,
                 Output& output);

}  // namespace stasis::cli
