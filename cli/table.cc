#include "cli/table.h"

#include <algorithm>

namespace stasis::cli {

namespace {

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {  // A colour sequence ends with 'm'.
      while (i < text.size() && text[i] != 'm') {
        ++i;
      }
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) {
      ++width;
    }
  }
  return width;
}

}  // namespace

Table::Table(std::vector<std::string> headers, std::vector<Align> aligns)
    : headers_(std::move(headers)), aligns_(std::move(aligns)) {}

void Table::add_row(std::vector<std::string> cells) {
  rows_.push_back(std::move(cells));
}

std::string Table::render(std::size_t indent) const {
  std::vector<const std::vector<std::string>*> lines;
  if (!headers_.empty()) {
    lines.push_back(&headers_);
  }
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    lines.push_back(&row);
  }
  for (const auto* line : lines) {
    widths.resize(std::max(widths.size(), line->size()), 0);
    for (std::size_t i = 0; i < line->size(); ++i) {
      widths[i] = std::max(widths[i], display_width((*line)[i]));
    }
  }
  std::string text;
  for (const auto* line : lines) {
    std::string rendered(indent, ' ');
    for (std::size_t i = 0; i < line->size(); ++i) {
      const std::string padding(widths[i] - display_width((*line)[i]), ' ');
      const bool right = i < aligns_.size() && aligns_[i] == Align::kRight;
      rendered += (i == 0 ? "" : "  ") + (right ? padding + (*line)[i] : (*line)[i] + padding);
    }
    rendered.erase(rendered.find_last_not_of(' ') + 1);
    text += rendered + '\n';
  }
  return text;
}

}  // namespace stasis::cli
