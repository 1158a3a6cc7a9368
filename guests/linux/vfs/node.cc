#include "guests/linux/vfs/node.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

namespace stasis::linux_guest {

SysOr<NodePointer> Node::lookup(std::string_view /*name*/) {
  return Errno{ENOTDIR};
}
SysOr<std::vector<DirectoryEntry>> Node::list() {
  return Errno{ENOTDIR};
}
SysOr<NodePointer> Node::create_file(std::string_view /*name*/, std::uint32_t /*mode*/) {
  return Errno{EROFS};
}
SysResult Node::create_directory(std::string_view /*name*/, std::uint32_t /*mode*/) {
  return -EROFS;
}
SysResult Node::create_link(std::string_view /*name*/, std::string_view /*target*/) {
  return -EROFS;
}
SysResult Node::link(std::string_view /*name*/, const NodePointer& /*existing*/) {
  return -EROFS;
}
SysResult Node::unlink(std::string_view /*name*/) {
  return -EROFS;
}
SysResult Node::remove_directory(std::string_view /*name*/) {
  return -EROFS;
}
SysResult Node::rename(std::string_view /*from*/, const NodePointer& /*to*/,
                       std::string_view /*name*/, unsigned /*flags*/) {
  return -EROFS;
}
SysResult Node::truncate(std::uint64_t /*size_bytes*/) {
  return -EROFS;
}
SysResult Node::change(const NodeChange& /*change*/) {
  return -EROFS;
}

bool Node::is_directory() const {
  return S_ISDIR(stat().mode);
}
bool Node::is_link() const {
  return S_ISLNK(stat().mode);
}

std::uint8_t entry_type_of(std::uint32_t mode) {
  return static_cast<std::uint8_t>(IFTODT(mode));
}

}  // namespace stasis::linux_guest
