// Finds guest programs by name: the ones built with this project, and the user's own by path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace stasis::guests {

// Where the project's own guests are looked for, in this order: the environment variable
// STASIS_GUESTS, share/stasis/guests next to the running program's bin/, the build tree, the
// install prefix.
std::vector<std::filesystem::path> guest_directories();

// A name with a '/' is a path and must exist; any other is looked for in guest_directories().
// kNotFound, listing the directories and the guests that are there.
Result<std::filesystem::path> find_guest(std::string_view name);

// The names that find_guest() knows without a path, sorted, each once.
std::vector<std::string> list_guests();

// The whole file. kNotFound, kIo, or kOutOfRange above 256 MiB.
Result<std::vector<std::byte>> read_guest_image(const std::filesystem::path& path);

}  // namespace stasis::guests
