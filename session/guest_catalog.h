// Finds guest programs by name, in the build tree or where they were installed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace stasis::session {

// Where guests are looked for, in this order: the directories of `search_path` (colon-separated, as
// in the environment variable STASIS_GUEST_PATH), the place of an installed or built tree relative
// to the running program, and the directories compiled in.
std::vector<std::string> default_guest_directories(std::string_view search_path = {});

// The path of a guest. `guest` is a path if it holds a '/', otherwise a name. kNotFound lists the
// guests that exist and the directories that were searched; kInvalidArgument for an empty name.
Result<std::string> find_guest(std::string_view guest, const std::vector<std::string>& directories);

// The names in those directories, sorted, each once.
std::vector<std::string> list_guests(const std::vector<std::string>& directories);

}  // namespace stasis::session
