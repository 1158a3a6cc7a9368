// The functions that an ELF file names: for reports that a person reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guests/linux/address_space.h"

namespace stasis::linux_guest {

// Value.
struct FunctionPlace {
  std::string name;  // As in the file (mangled), printable, at most kFunctionNameMax characters.
  std::uint64_t offset = 0;  // Bytes since the function's begin.
};
inline constexpr std::size_t kFunctionNameMax = 256;

// The function of `file` that the byte at `file_offset` belongs to, by .symtab, else by .dynsym.
// Nothing if the file is not an ELF, is damaged, or names none there. No byte of it is trusted, and
// the work is bounded; it reads the tables anew each time.
[[nodiscard]] std::optional<FunctionPlace> find_function(const MappedFile& file,
                                                         std::uint64_t file_offset);

}  // namespace stasis::linux_guest
