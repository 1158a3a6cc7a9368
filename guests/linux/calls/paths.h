// From the path arguments of a system call to places in the file tree.
#pragma once

#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

// The folder that relative paths begin in: AT_FDCWD or a descriptor. EBADF, ENOTDIR.
[[nodiscard]] SysOr<NodePointer> folder_of(Call& call, int descriptor);
// The path at argument `path`, from the folder at `descriptor` (AT_FDCWD alone for old calls).
[[nodiscard]] SysOr<Place> place_of(Call& call, int descriptor, UserAddress path, LastLink last);
// As place_of, of something that must exist; with AT_EMPTY_PATH an empty path is the descriptor.
struct Lookup {
  int descriptor = 0;
  UserAddress path;
  int flags = 0;  // AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
};
// Either is set: the file if the path is empty or leads to what has no node.
struct Found {
  NodePointer node;
  std::shared_ptr<File> file;
  [[nodiscard]] FileStat stat() const { return file != nullptr ? file->stat() : node->stat(); }
};
[[nodiscard]] SysOr<Found> look_up(Call& call, const Lookup& lookup);

// open(2) and all its relatives.
struct OpenRequest {
  int descriptor = 0;
  UserAddress path;
  int flags = 0;
  std::uint32_t mode = 0;
};
[[nodiscard]] SysResult open_path(Call& call, const OpenRequest& request);

}  // namespace stasis::linux_guest
