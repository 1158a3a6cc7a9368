// What a file says, as text for people. Private to snapshot/.
#pragma once

#include <cstdint>
#include <string>

namespace stasis::snapshot::internal {

// "2026-01-31 13:45 UTC" of nanoseconds since 1970.
std::string date_of(std::int64_t created_ns);

// Text from a file on its way to a terminal: control characters become '?'.
std::string printable(std::string text);

}  // namespace stasis::snapshot::internal
