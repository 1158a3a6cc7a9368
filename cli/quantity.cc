#include "cli/quantity.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>

namespace stasis::cli {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Longest spelling first where one begins another.
constexpr std::array<Unit, 9> kSizes = {{{"", 1},
                                         {"K", std::uint64_t{1} << 10U},
                                         {"KiB", std::uint64_t{1} << 10U},
                                         {"M", std::uint64_t{1} << 20U},
                                         {"MiB", std::uint64_t{1} << 20U},
                                         {"G", std::uint64_t{1} << 30U},
                                         {"GiB", std::uint64_t{1} << 30U},
                                         {"T", std::uint64_t{1} << 40U},
                                         {"TiB", std::uint64_t{1} << 40U}}};

constexpr std::array<Unit, 7> kTimes = {{{"", 1'000'000'000},
                                         {"ns", 1},
                                         {"us", 1'000},
                                         {"ms", 1'000'000},
                                         {"s", 1'000'000'000},
                                         {"m", 60'000'000'000},
                                         {"h", 3'600'000'000'000}}};

template <std::size_t N>
Result<std::uint64_t> parse(std::string_view text, const std::array<Unit, N>& units,
                            std::uint64_t limit, std::string_view expected) {
  const auto refuse = [&](std::string_view cause) {
    return Error{Errc::kInvalidArgument, 0, fmt::format("'{}': {}; {}", text, cause, expected)};
  };
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, number, 10);
  if (status == std::errc::result_out_of_range) {
    return refuse("too large");
  }
  if (status != std::errc{}) {
    return refuse("not a number");
  }
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  for (const Unit& unit : units) {
    if (suffix == unit.name) {
      if (number > limit / unit.factor) {
        return refuse("too large");
      }
      return number * unit.factor;
    }
  }
  return refuse(fmt::format("unknown unit '{}'", suffix));
}

// At most three significant digits: "1.5", "12.3", "256".
std::string three_digits(double value) {
  std::string text = value < 9.995   ? fmt::format("{:.2f}", value)
                     : value < 99.95 ? fmt::format("{:.1f}", value)
                                     : fmt::format("{:.0f}", value);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') {
      text.pop_back();
    }
  }
  return text;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  return parse(text, kSizes, std::numeric_limits<std::uint64_t>::max(),
               "write a size as 4096, 64K, 256M, 1G or 2T");
}

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t kLimit = std::numeric_limits<std::int64_t>::max();
  STASIS_ASSIGN(const std::uint64_t ns,
                parse(text, kTimes, kLimit, "write a duration as 250ms, 30s or 2m"));
  return std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kNames = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  std::size_t index = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024.0 && index + 1 < kNames.size()) {
    value /= 1024.0;
    ++index;
  }
  // 1000 to 1023 of a unit keep four digits rather than becoming "0.98" of the next.
  return fmt::format("{} {}", three_digits(value), kNames.at(index));
}

std::string format_duration(std::int64_t ns) {
  const double value = std::abs(static_cast<double>(ns));
  const std::string_view sign = ns < 0 ? "-" : "";
  if (value < 1e3) {
    return fmt::format("{} ns", ns);
  }
  if (value < 1e6) {
    return fmt::format("{}{} us", sign, three_digits(value / 1e3));
  }
  if (value < 1e9) {
    return fmt::format("{}{} ms", sign, three_digits(value / 1e6));
  }
  return fmt::format("{}{} s", sign, three_digits(value / 1e9));
}

std::string format_time(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / 1'000'000'000;
  std::tm parts = {};
  if (gmtime_r(&seconds, &parts) == nullptr) {
    return fmt::format("{} ns after 1970", unix_ns);
  }
  std::array<char, 64> text = {};
  const std::size_t length =
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return {text.data(), length};
}

}  // namespace stasis::cli
