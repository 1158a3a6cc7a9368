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

// One walk. Each step takes one name; a link puts its own names before those that are left.
class Walker {
 public:
  Walker(Vfs& vfs, Place start, LastLink last)
      : vfs_(&vfs), place_(std::move(start)), last_(last) {}

  // 0 or an errno.
  [[nodiscard]] int walk(std::string_view path) {
    prepend(left_, path);
    int wrong = 0;
    while (wrong == 0 && !left_.empty()) {
      wrong = step();
    }
    return wrong;
  }
  [[nodiscard]] Place take_place() { return std::move(place_); }

 private:
  int step();
  void go_up(std::string_view name);
  [[nodiscard]] bool is_followed(const Node& next) const;
  int follow(Node& link);

  Vfs* vfs_;
  Place place_;
  LastLink last_;
  std::deque<std::string> left_;
  int links_ = 0;
};

int Walker::step() {
  const std::string name = std::move(left_.front());
  left_.pop_front();
  if (place_.node == nullptr) {
    return ENOENT;
  }
  if (!place_.node->is_directory()) {
    return ENOTDIR;
  }
  if (name.size() > kNameMax) {
    return ENAMETOOLONG;
  }
  if (name == "." || name == "..") {
    go_up(name);
    return 0;
  }
  SysOr<NodePointer> found = place_.node->lookup(name);
  if (!found.ok() && found.code().value != ENOENT) {
    return found.code().value;
  }
  NodePointer next = found.ok() ? *found : nullptr;
  if (next != nullptr && is_followed(*next)) {
    return follow(*next);
  }
  place_.folder = std::move(place_.node);
  place_.node = std::move(next);
  place_.name = name;
  return 0;
}

void Walker::go_up(std::string_view name) {
  NodePointer up = name == "." ? place_.node : place_.node->parent();
  place_ = {up == nullptr ? vfs_->root() : std::move(up), nullptr, {}, place_.must_be_directory};
}

bool Walker::is_followed(const Node& next) const {
  const bool follows = !left_.empty() || last_ == LastLink::kFollow || place_.must_be_directory;
  return follows && next.is_link() && next.linked_file() == nullptr;
}

int Walker::follow(Node& link) {
  if (++links_ > kLinksMax) {
    return ELOOP;
  }
  const std::string target = link.link_target();
  if (target.empty()) {
    return ENOENT;
  }
  place_.must_be_directory = place_.must_be_directory || (left_.empty() && target.back() == '/');
  prepend(left_, target);
  if (left_.size() > kPathMax) {
    return ENAMETOOLONG;
  }
  if (target.front() == '/') {
    place_.node = vfs_->root();
    place_.folder = nullptr;
  }
  return 0;  // Else from the folder in which the link is.
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
  Walker walker(*this, std::move(place), last);
  if (const int wrong = walker.walk(path); wrong != 0) {
    return Errno{wrong};
  }
  return walker.take_place();
}

}  // namespace stasis::linux_guest
