#include <errno.h>

#include <deque>

#include "guests/linux/vfs/vfs.h"

namespace stasis::linux_guest {
namespace {

constexpr int kLinksMax = 40;           // MAXSYMLINKS
constexpr std::size_t kPathMax = 4096;  // PATH_MAX
constexpr std::size_t kNameMax = 255;   // NAME_MAX

// The components before those that are left.
void prepend(std::deque<std::string>& left, std::string_view path) {
  std::deque<std::string> added;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (slash != 0) {
      added.emplace_back(path.substr(0, slash));
    }
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  left.insert(left.begin(), added.begin(), added.end());
}

}  // namespace

SysOr<Place> Vfs::walk(NodePointer start, std::string_view path, LastLink last) {
  if (path.empty() || start == nullptr) {
    return Errno{ENOENT};
  }
  if (path.size() >= kPathMax) {
    return Errno{ENAMETOOLONG};
  }
  Place place;
  place.node = path.front() == '/' ? root() : std::move(start);
  place.must_be_directory = path.back() == '/';
  std::deque<std::string> left;
  prepend(left, path);
  int links = 0;
  while (!left.empty()) {
    const std::string name = std::move(left.front());
    left.pop_front();
    if (place.node == nullptr) {
      return Errno{ENOENT};
    }
    if (!place.node->is_directory()) {
      return Errno{ENOTDIR};
    }
    if (name.size() > kNameMax) {
      return Errno{ENAMETOOLONG};
    }
    if (name == "." || name == "..") {
      NodePointer up = name == "." ? place.node : place.node->parent();
      place = {up == nullptr ? root() : std::move(up), nullptr, {}, place.must_be_directory};
      continue;
    }
    SysOr<NodePointer> found = place.node->lookup(name);
    if (!found.ok() && found.code().value != ENOENT) {
      return found.code();
    }
    NodePointer next = found.ok() ? *found : nullptr;
    const bool is_last = left.empty();
    const bool follows = !is_last || last == LastLink::kFollow || place.must_be_directory;
    if (next != nullptr && follows && next->is_link() && next->linked_file() == nullptr) {
      if (++links > kLinksMax) {
        return Errno{ELOOP};
      }
      const std::string target = next->link_target();
      if (target.empty()) {
        return Errno{ENOENT};
      }
      place.must_be_directory = place.must_be_directory || (is_last && target.back() == '/');
      prepend(left, target);
      if (left.size() > kPathMax) {
        return Errno{ENAMETOOLONG};
      }
      if (target.front() == '/') {
        place.node = root();
        place.folder = nullptr;
      }
      continue;  // Else from the folder in which the link is.
    }
    place.folder = std::move(place.node);
    place.node = std::move(next);
    place.name = name;
  }
  return place;
}

}  // namespace stasis::linux_guest
