#include "snapshot/plain_text.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace stasis::snapshot::internal {

std::string date_of(std::int64_t created_ns) {
  const std::time_t seconds = created_ns / 1'000'000'000;
  std::tm parts = {};
  std::array<char, 32> text = {};
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts) == 0) {
    return "an unknown date";
  }
  return text.data();
}

std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c == '\x7f'; }, '?');
  return text;
}

}  // namespace stasis::snapshot::internal
