#include "guests/guest_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "guests/guest_paths.h"  // Generated: where the build and the installation put guests.

namespace stasis::guests {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kImageBytesMax = std::uint64_t{256} << 20U;

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += (out.empty() ? "" : ", ") + word;
  }
  return out.empty() ? "none" : out;
}

}  // namespace

std::vector<fs::path> guest_directories() {
  std::vector<fs::path> directories;
  // Read once per call and never written by us: no race with other threads of this program.
  if (const char* configured = std::getenv("STASIS_GUESTS");  // NOLINT(concurrency-mt-unsafe)
      configured != nullptr && *configured != '\0') {
    directories.emplace_back(configured);
  }
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !ignored) {
    directories.push_back(program.parent_path().parent_path() / kInstallSubdirectory);
  }
  directories.emplace_back(kBuildDirectory);
  directories.emplace_back(kInstallDirectory);
  return directories;
}

Result<fs::path> find_guest(std::string_view name) {
  std::error_code status;
  if (name.find('/') != std::string_view::npos) {
    if (!fs::is_regular_file(name, status)) {
      return Error{.code = Errc::kNotFound,
                   .message = "guest '" + std::string(name) +
                              "': no such file; give the path of a bare guest's ELF, or one of: " +
                              joined(list_guests())};
    }
    return fs::path(name);
  }
  std::vector<std::string> searched;
  for (const fs::path& directory : guest_directories()) {
    if (fs::path candidate = directory / name;
        !name.empty() && fs::is_regular_file(candidate, status)) {
      return candidate;
    }
    searched.push_back(directory.string());
  }
  return Error{.code = Errc::kNotFound,
               .message = "guest '" + std::string(name) + "': not in " + joined(searched) +
                          "; there are: " + joined(list_guests()) +
                          "; a path needs a '/' in it (./" + std::string(name) + ")"};
}

std::vector<std::string> list_guests() {
  std::vector<std::string> names;
  for (const fs::path& directory : guest_directories()) {
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
      std::error_code status;
      if (it->is_regular_file(status) && !it->path().has_extension()) {
        names.push_back(it->path().filename().string());
      }
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Result<std::vector<std::byte>> read_guest_image(const fs::path& path) {
  std::error_code status;
  const std::uintmax_t size = fs::file_size(path, status);
  if (status) {
    const Errc code = status == std::errc::no_such_file_or_directory ? Errc::kNotFound : Errc::kIo;
    return Error{
        .code = code, .os_error = status.value(), .message = "guest '" + path.string() + "'"};
  }
  if (size > kImageBytesMax) {
    return Error{.code = Errc::kOutOfRange,
                 .message = "guest '" + path.string() + "': " + std::to_string(size) +
                            " bytes are more than the " + std::to_string(kImageBytesMax) +
                            " that a guest image may have; let the guest make its data itself"};
  }
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes(size);
  if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    return Error{.code = Errc::kIo,
                 .os_error = errno,
                 .message = "guest '" + path.string() + "': cannot be read"};
  }
  const auto view = std::as_bytes(std::span(bytes));
  return std::vector<std::byte>(view.begin(), view.end());
}

}  // namespace stasis::guests
