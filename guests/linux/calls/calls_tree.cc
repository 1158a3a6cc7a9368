// Opening, creating, removing and renaming; changing the metadata of files.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <vector>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/paths.h"
#include "guests/linux/calls/times.h"

namespace stasis::linux_guest {
namespace {

// The folder and the new name for a call that makes one.
SysOr<Place> new_place(Call& call, int descriptor, UserAddress path) {
  SysOr<Place> place = place_of(call, descriptor, path, LastLink::kKeep);
  if (place.ok() && place->node != nullptr) {
    return Errno{EEXIST};
  }
  return place;
}

SysResult make_directory(Call& call, int descriptor, UserAddress path, std::uint32_t mode) {
  SysOr<Place> place = new_place(call, descriptor, path);
  return place.ok()
             ? place->folder->create_directory(place->name, mode & 01777U & ~call.process.umask)
             : place.error();
}

SysResult remove_place(Call& call, int descriptor, UserAddress path, int flags) {
  if ((flags & ~AT_REMOVEDIR) != 0) {
    return -EINVAL;
  }
  SysOr<Place> place = place_of(call, descriptor, path, LastLink::kKeep);
  if (!place.ok()) {
    return place.error();
  }
  if (place->node == nullptr) {
    return -ENOENT;
  }
  const bool folders = (flags & AT_REMOVEDIR) != 0;
  if (place->folder == nullptr) {
    return folders ? -EBUSY : -EISDIR;
  }
  if (place->must_be_directory && !place->node->is_directory()) {
    return -ENOTDIR;
  }
  return folders ? place->folder->remove_directory(place->name)
                 : place->folder->unlink(place->name);
}

struct TwoPaths {
  int from_descriptor = 0;
  UserAddress from;
  int to_descriptor = 0;
  UserAddress to;
};

SysResult rename_place(Call& call, const TwoPaths& paths, unsigned flags) {
  SysOr<Place> from = place_of(call, paths.from_descriptor, paths.from, LastLink::kKeep);
  SysOr<Place> to = place_of(call, paths.to_descriptor, paths.to, LastLink::kKeep);
  if (!from.ok() || !to.ok()) {
    return from.ok() ? to.error() : from.error();
  }
  if (from->node == nullptr) {
    return -ENOENT;
  }
  if (from->folder == nullptr || to->folder == nullptr) {
    return -EBUSY;
  }
  if ((from->must_be_directory || to->must_be_directory) && !from->node->is_directory()) {
    return -ENOTDIR;
  }
  return from->folder->rename(from->name, to->folder, to->name, flags);
}

SysResult link_place(Call& call, const TwoPaths& paths, int flags) {
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
    return -EINVAL;
  }
  const int lookup_flags =
      (flags & AT_EMPTY_PATH) | ((flags & AT_SYMLINK_FOLLOW) != 0 ? 0 : AT_SYMLINK_NOFOLLOW);
  SysOr<Found> found = look_up(call, {paths.from_descriptor, paths.from, lookup_flags});
  if (!found.ok()) {
    return found.error();
  }
  // linkat(AT_SYMLINK_FOLLOW) of /proc/self/fd/N names a file that was made with O_TMPFILE.
  const NodePointer node = found->file != nullptr ? found->file->node() : found->node;
  SysOr<Place> place = new_place(call, paths.to_descriptor, paths.to);
  if (!place.ok()) {
    return place.error();
  }
  return node == nullptr ? -EXDEV : place->folder->link(place->name, node);
}

SysResult make_link(Call& call, UserAddress target, int descriptor, UserAddress path) {
  SysOr<std::string> text = call.user.get_path(target);
  if (!text.ok() || text->empty()) {
    return text.ok() ? -ENOENT : text.error();
  }
  SysOr<Place> place = new_place(call, descriptor, path);
  if (!place.ok()) {
    return place.error();
  }
  return place->must_be_directory ? -ENOENT : place->folder->create_link(place->name, *text);
}

SysResult change_found(SysOr<Found> found, const NodeChange& change) {
  if (!found.ok()) {
    return found.error();
  }
  NodePointer node = found->file != nullptr ? found->file->node() : found->node;
  return node == nullptr ? 0 : node->change(change);  // Of a pipe and its like: no matter.
}

SysOr<Found> found_descriptor(Call& call) {
  std::shared_ptr<File> file = call.file(0);
  return file == nullptr ? SysOr<Found>(Errno{EBADF})
                         : SysOr<Found>(Found{file->node(), std::move(file)});
}

NodeChange owner_of(std::uint32_t user, std::uint32_t group) {
  NodeChange change;
  change.user = user == UINT32_MAX ? std::nullopt : std::optional(user);
  change.group = group == UINT32_MAX ? std::nullopt : std::optional(group);
  return change;
}

NodeChange mode_of(std::uint32_t mode) {
  NodeChange change;
  change.mode = mode & 07777U;
  return change;
}

// One of the two times of utimensat(2); false: EINVAL.
bool set_time(const timespec& at, std::int64_t now, std::optional<std::int64_t>& out) {
  if (at.tv_nsec == UTIME_OMIT) {
    return true;
  }
  if (at.tv_nsec == UTIME_NOW) {
    out = now;
    return true;
  }
  out = ns_of(at);
  return out.has_value();
}

SysResult make_node(Call& call, int descriptor, std::size_t first) {
  const std::uint32_t mode = call.as_u32(first + 1);
  const std::uint32_t type = mode & S_IFMT;
  if (type != 0 && type != S_IFREG) {
    return type == S_IFDIR ? -EINVAL : -EPERM;
  }
  SysOr<Place> place = new_place(call, descriptor, call.address(first));
  return place.ok()
             ? place->folder->create_file(place->name, mode & 07777U & ~call.process.umask).error()
             : place.error();
}

}  // namespace

SysResult sys_open(Call& call) {
  return open_path(call, {AT_FDCWD, call.address(0), call.as_int(1), call.as_u32(2)});
}
SysResult sys_openat(Call& call) {
  return open_path(call, {call.as_int(0), call.address(1), call.as_int(2), call.as_u32(3)});
}
SysResult sys_openat2(Call& call) {
  if (call[3] != sizeof(open_how)) {
    return call[3] < sizeof(open_how) ? -EINVAL : -E2BIG;
  }
  const auto how = call.user.get<open_how>(call.address(2));
  if (!how) {
    return -EFAULT;
  }
  if (how->resolve != 0 || (how->flags >> 31U) != 0) {
    return -EINVAL;  // The caller does without, or walks by itself.
  }
  return open_path(call, {call.as_int(0), call.address(1), static_cast<int>(how->flags),
                          static_cast<std::uint32_t>(how->mode)});
}
SysResult sys_creat(Call& call) {
  return open_path(call, {AT_FDCWD, call.address(0), O_CREAT | O_WRONLY | O_TRUNC, call.as_u32(1)});
}

SysResult sys_mkdir(Call& call) {
  return make_directory(call, AT_FDCWD, call.address(0), call.as_u32(1));
}
SysResult sys_mkdirat(Call& call) {
  return make_directory(call, call.as_int(0), call.address(1), call.as_u32(2));
}
SysResult sys_mknod(Call& call) {
  return make_node(call, AT_FDCWD, 0);
}
SysResult sys_mknodat(Call& call) {
  return make_node(call, call.as_int(0), 1);
}
SysResult sys_rmdir(Call& call) {
  return remove_place(call, AT_FDCWD, call.address(0), AT_REMOVEDIR);
}
SysResult sys_unlink(Call& call) {
  return remove_place(call, AT_FDCWD, call.address(0), 0);
}
SysResult sys_unlinkat(Call& call) {
  return remove_place(call, call.as_int(0), call.address(1), call.as_int(2));
}
SysResult sys_rename(Call& call) {
  return rename_place(call, {AT_FDCWD, call.address(0), AT_FDCWD, call.address(1)}, 0);
}
SysResult sys_renameat(Call& call) {
  return rename_place(call, {call.as_int(0), call.address(1), call.as_int(2), call.address(3)}, 0);
}
SysResult sys_renameat2(Call& call) {
  return rename_place(call, {call.as_int(0), call.address(1), call.as_int(2), call.address(3)},
                      call.as_u32(4));
}
SysResult sys_link(Call& call) {
  return link_place(call, {AT_FDCWD, call.address(0), AT_FDCWD, call.address(1)}, 0);
}
SysResult sys_linkat(Call& call) {
  return link_place(call, {call.as_int(0), call.address(1), call.as_int(2), call.address(3)},
                    call.as_int(4));
}
SysResult sys_symlink(Call& call) {
  return make_link(call, call.address(0), AT_FDCWD, call.address(1));
}
SysResult sys_symlinkat(Call& call) {
  return make_link(call, call.address(0), call.as_int(1), call.address(2));
}

SysResult sys_chmod(Call& call) {
  return change_found(look_up(call, {AT_FDCWD, call.address(0), 0}), mode_of(call.as_u32(1)));
}
SysResult sys_fchmod(Call& call) {
  return change_found(found_descriptor(call), mode_of(call.as_u32(1)));
}
SysResult sys_fchmodat(Call& call) {
  return change_found(look_up(call, {call.as_int(0), call.address(1), 0}), mode_of(call.as_u32(2)));
}
SysResult sys_chown(Call& call) {
  return change_found(look_up(call, {AT_FDCWD, call.address(0), 0}),
                      owner_of(call.as_u32(1), call.as_u32(2)));
}
SysResult sys_lchown(Call& call) {
  return change_found(look_up(call, {AT_FDCWD, call.address(0), AT_SYMLINK_NOFOLLOW}),
                      owner_of(call.as_u32(1), call.as_u32(2)));
}
SysResult sys_fchown(Call& call) {
  return change_found(found_descriptor(call), owner_of(call.as_u32(1), call.as_u32(2)));
}
SysResult sys_fchownat(Call& call) {
  return change_found(look_up(call, {call.as_int(0), call.address(1), call.as_int(4)}),
                      owner_of(call.as_u32(2), call.as_u32(3)));
}

SysResult sys_utimensat(Call& call) {
  const std::int64_t now = call.process.clock.real_ns();
  NodeChange change;
  change.accessed_ns = change.modified_ns = now;
  if (call[2] != 0) {
    const auto times = call.user.get<std::array<timespec, 2>>(call.address(2));
    if (!times) {
      return -EFAULT;
    }
    change = {};
    if (!set_time((*times)[0], now, change.accessed_ns) ||
        !set_time((*times)[1], now, change.modified_ns)) {
      return -EINVAL;
    }
  }
  if (call[1] == 0) {  // futimens
    return change_found(found_descriptor(call), change);
  }
  return change_found(look_up(call, {call.as_int(0), call.address(1), call.as_int(3)}), change);
}

SysResult sys_utimes(Call& call) {
  NodeChange change;
  change.accessed_ns = change.modified_ns = call.process.clock.real_ns();
  if (call[1] != 0) {
    const auto times = call.user.get<std::array<timeval, 2>>(call.address(1));
    if (!times) {
      return -EFAULT;
    }
    change.accessed_ns = ns_of((*times)[0]);
    change.modified_ns = ns_of((*times)[1]);
    if (!change.accessed_ns || !change.modified_ns) {
      return -EINVAL;
    }
  }
  return change_found(look_up(call, {AT_FDCWD, call.address(0), 0}), change);
}

SysResult sys_truncate(Call& call) {
  SysOr<Found> found = look_up(call, {AT_FDCWD, call.address(0), 0});
  if (!found.ok()) {
    return found.error();
  }
  if (found->node->is_directory()) {
    return -EISDIR;
  }
  return call.as_i64(1) < 0 ? -EINVAL : found->node->truncate(call[1]);
}

SysResult sys_ftruncate(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  return call.as_i64(1) < 0 || !file->can_write() ? -EINVAL : file->truncate(call[1]);
}

SysResult sys_chdir(Call& call) {
  SysOr<Found> found = look_up(call, {AT_FDCWD, call.address(0), 0});
  if (!found.ok()) {
    return found.error();
  }
  if (!found->node->is_directory()) {
    return -ENOTDIR;
  }
  call.process.working_directory = found->node;
  return 0;
}

SysResult sys_fchdir(Call& call) {
  SysOr<NodePointer> folder = folder_of(call, call.as_int(0));
  if (folder.ok() && call.as_int(0) != AT_FDCWD) {
    call.process.working_directory = *folder;
    return 0;
  }
  return folder.ok() ? -EBADF : folder.error();
}

}  // namespace stasis::linux_guest
