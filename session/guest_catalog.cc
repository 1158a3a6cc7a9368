#include "session/guest_catalog.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

namespace stasis::session {

namespace fs = std::filesystem;

namespace {

// Relative to the directory of the running program: the build tree (cli/stasis beside guests/) and
// an installed tree (bin/stasis beside libexec).
constexpr std::string_view kRelativePlaces[] = {"../guests", "../libexec/stasis/guests",
                                                "../../guests"};

// Guests are ELF files without a suffix; objects and archives of a build tree have one.
bool is_guest_file(const fs::directory_entry& entry) {
  std::error_code error;
  return entry.is_regular_file(error) && !entry.path().has_extension() &&
         (entry.status(error).permissions() & fs::perms::owner_exec) != fs::perms::none;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += text.empty() ? word : ", " + word;
  }
  return text;
}

}  // namespace

std::vector<std::string> default_guest_directories(std::string_view search_path) {
  std::vector<std::string> directories;
  while (!search_path.empty()) {
    const std::size_t colon = std::min(search_path.find(':'), search_path.size());
    if (colon > 0) {
      directories.emplace_back(search_path.substr(0, colon));
    }
    search_path.remove_prefix(std::min(colon + 1, search_path.size()));
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    for (const std::string_view place : kRelativePlaces) {
      const fs::path directory = (program.parent_path() / place).lexically_normal();
      if (fs::is_directory(directory, error)) {
        directories.push_back(directory.string());
      }
    }
  }
  directories.emplace_back(STASIS_GUEST_BUILD_DIR);
  directories.emplace_back(STASIS_GUEST_INSTALL_DIR);
  return directories;
}

Result<std::string> find_guest(std::string_view guest,
                               const std::vector<std::string>& directories) {
  if (guest.empty()) {
    return Error{Errc::kInvalidArgument, 0, "the guest's name is empty"};
  }
  std::error_code error;
  if (guest.find('/') != std::string_view::npos) {
    const fs::path path(guest);
    if (!fs::exists(path, error)) {
      return Error{Errc::kNotFound, 0, "guest '" + std::string(guest) + "': no such file"};
    }
    if (!fs::is_regular_file(path, error)) {
      return Error{Errc::kInvalidArgument, 0,
                   "guest '" + std::string(guest) + "': not a regular file"};
    }
    return path.string();
  }
  for (const std::string& directory : directories) {
    const fs::path path = fs::path(directory) / guest;
    if (fs::is_regular_file(path, error)) {
      return path.string();
    }
  }
  const std::vector<std::string> known = list_guests(directories);
  return Error{Errc::kNotFound, 0,
               "guest '" + std::string(guest) + "': no guest of that name; there are: " +
                   (known.empty() ? std::string("none") : join(known)) + " (searched " +
                   join(directories) + "); the path of an ELF file needs a '/'"};
}

std::vector<std::string> list_guests(const std::vector<std::string>& directories) {
  std::set<std::string> names;
  for (const std::string& directory : directories) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
      if (is_guest_file(entry)) {
        names.insert(entry.path().filename().string());
      }
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace stasis::session
