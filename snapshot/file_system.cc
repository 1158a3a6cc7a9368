#include "snapshot/file_system.h"

namespace stasis::snapshot {

std::string join_path(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') {
    path += '/';
  }
  path += name;
  return path;
}

SplitPath split_path(std::string_view path) {
  const bool absolute = !path.empty() && path.front() == '/';
  while (!path.empty() && path.back() == '/') {
    path.remove_suffix(1);
  }
  const std::size_t slash = path.rfind('/');
  std::string_view parent = slash == std::string_view::npos ? "." : path.substr(0, slash);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (parent.empty() && absolute) {
    parent = "/";
  }
  if (name == "." || name == "..") {
    return {std::string(path), ""};
  }
  return {std::string(parent), std::string(name)};
}

}  // namespace stasis::snapshot
