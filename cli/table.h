// Columns of text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stasis::cli {

enum class Align : std::uint8_t { kLeft, kRight };

// Value. Rows are padded to the widest cell of a column; terminal colour sequences and UTF-8
// continuation bytes take no width.
class Table {
 public:
  // An empty `headers` prints no heading. `aligns` may be shorter: the rest is left-aligned.
  explicit Table(std::vector<std::string> headers, std::vector<Align> aligns = {});
  void add_row(std::vector<std::string> cells);
  // Every line indented by `indent` spaces and ended by a newline.
  [[nodiscard]] std::string render(std::size_t indent = 0) const;

 private:
  std::vector<std::string> headers_;
  std::vector<Align> aligns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace stasis::cli
