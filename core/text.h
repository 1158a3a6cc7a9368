// Numbers as error messages and reports show them.
#pragma once

#include <cstdint>
#include <string>

#include "core/address.h"

namespace stasis {

std::string hex(std::uint64_t value);             // "0xfee00000"
std::string describe(GpaRange range);             // "[0x1000, +0x2000)"
std::string describe_bytes(std::uint64_t bytes);  // In the largest unit that is exact: "128 TiB".

}  // namespace stasis
