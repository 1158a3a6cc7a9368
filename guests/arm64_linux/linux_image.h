// The header of an arm64 Linux kernel image. Pure.
// Source: Linux, Documentation/arm64/booting.rst, "Call the kernel image".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/result.h"

namespace stasis::guests::arm64 {

// Value.
struct LinuxImage {
  std::uint64_t text_offset = 0;  // From a multiple of 2 MiB in RAM to where the image lies.
  std::uint64_t image_size = 0;   // What it takes in RAM, from there; not less than the file.
};

// Errors name the file: kMismatch for a kernel of another machine, byte order or form, with the
// cure; kCorruption for a header that contradicts itself or the file.
Result<LinuxImage> parse_linux_image(std::span<const std::byte> file, const std::string& name);

}  // namespace stasis::guests::arm64
