// Sizes and durations as people write and read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace stasis::cli {

// "4096", "64K", "256M", "1G", "2T", also "64KiB": decimal digits, then at most one binary suffix.
// kInvalidArgument, quoting the text, for anything else (signs, fractions, spaces) and for values
// that do not fit into 64 bits.
Result<std::uint64_t> parse_size(std::string_view text);

// "250ms", "30s", "2m", "1h", "10us", "5ns"; a number alone is seconds. Errors as above.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

// "1.5 GiB", "64 KiB", "12 B": three significant digits at most.
std::string format_bytes(std::uint64_t bytes);
// "1.23 ms", "456 us", "2.50 s".
std::string format_duration(std::int64_t ns);
// "2026-11-23 22:10:05 UTC".
std::string format_time(std::int64_t unix_ns);

}  // namespace stasis::cli
