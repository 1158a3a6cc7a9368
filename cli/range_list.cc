#include "cli/range_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/quantity.h"

namespace stasis::cli {

nlohmann::ordered_json to_json(const GpaRanges& ranges) {
  auto list = nlohmann::ordered_json::array();
  for (const GpaRange& range : ranges) {
    list.push_back({{"begin", range.begin.value}, {"bytes", range.size}});
  }
  return list;
}

void print_lines(const GpaRanges& ranges, std::size_t shown_max, std::string_view option,
                 Output& output) {
  const std::size_t shown = std::min(ranges.size(), shown_max);
  for (std::size_t i = 0; i < shown; ++i) {
    output.text(fmt::format("  {:#014x} .. {:#014x}  {}\n", ranges[i].begin.value,
                            ranges[i].end().value, format_bytes(ranges[i].size)));
  }
  if (shown < ranges.size()) {
    output.text(fmt::format("  ... and {} more ({} shows them)\n", ranges.size() - shown, option));
  }
}

}  // namespace stasis::cli
