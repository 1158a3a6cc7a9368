#include "guests/linux/calls/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace stasis::linux_guest {
namespace {

// What stays visible by F_GETFL.
constexpr int kStatusFlags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT |
                             O_NOATIME | O_PATH | O_DIRECTORY;

SysOr<NodePointer> create(Call& call, Place& place, std::uint32_t mode) {
  if (place.folder == nullptr) {
    return Errno{EISDIR};
  }
  if (place.must_be_directory) {
    return Errno{EISDIR};
  }
  return place.folder->create_file(place.name, mode & ~call.process.umask);
}

SysResult check_kind(const Node& node, int flags, bool must_be_directory) {
  const std::uint32_t mode = node.stat().mode;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (S_ISLNK(mode) && node.linked_file() == nullptr && (flags & O_PATH) == 0) {
    return -ELOOP;  // O_NOFOLLOW
  }
  if (S_ISDIR(mode)) {
    return writes || (flags & O_CREAT) != 0 ? -EISDIR : 0;
  }
  return (flags & O_DIRECTORY) != 0 || must_be_directory ? -ENOTDIR : 0;
}

// Each of them holds its content, which may be large (/proc/self/maps).
bool too_many_texts(const Process& process) {
  constexpr int kTextsMax = 64;
  return std::ranges::count_if(process.descriptors.all(), [](const auto& descriptor) {
           return descriptor.second.file->kind() == FileKind::kText;
         }) >= kTextsMax;
}

SysOr<std::shared_ptr<File>> open_unnamed(Place& place, std::uint32_t mode, int flags) {
  const auto folder = std::dynamic_pointer_cast<TmpfsNode>(place.node);
  if (folder == nullptr || (flags & O_ACCMODE) == O_RDONLY) {
    return Errno{folder == nullptr ? EOPNOTSUPP : EINVAL};
  }
  SysOr<NodePointer> made = folder->create_unnamed(mode);
  return made.ok() ? (*made)->open(flags & kStatusFlags & ~O_DIRECTORY) : made.code();
}

SysOr<std::shared_ptr<File>> open_node(Call& call, const Place& place, int flags) {
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return Errno{EEXIST};
  }
  if (const SysResult wrong = check_kind(*place.node, flags, place.must_be_directory); wrong != 0) {
    return Errno{static_cast<int>(-wrong)};
  }
  if (auto file = place.node->linked_file()) {
    return file;
  }
  if ((flags & O_PATH) != 0) {
    // Nothing of the content can be reached; the node opened for reading serves for the rest.
    return place.node->open(O_RDONLY | O_PATH | (flags & O_DIRECTORY));
  }
  auto opened = place.node->open(flags & kStatusFlags);
  if (opened.ok() && (*opened)->kind() == FileKind::kText && too_many_texts(call.process)) {
    return Errno{ENFILE};
  }
  const bool truncates = (flags & O_TRUNC) != 0 && (flags & O_ACCMODE) != O_RDONLY;
  if (opened.ok() && truncates && S_ISREG(place.node->stat().mode)) {
    if (const SysResult wrong = (*opened)->truncate(0); wrong != 0) {
      return Errno{static_cast<int>(-wrong)};
    }
  }
  return opened;
}

SysOr<std::shared_ptr<File>> open_place(Call& call, Place& place, const OpenRequest& request) {
  const int flags = request.flags;
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    if (place.node == nullptr) {
      return Errno{ENOENT};
    }
    return open_unnamed(place, request.mode & ~call.process.umask, flags);
  }
  if (place.node != nullptr) {
    return open_node(call, place, flags);
  }
  if ((flags & O_CREAT) == 0 || (flags & O_PATH) != 0) {
    return Errno{ENOENT};
  }
  SysOr<NodePointer> made = create(call, place, request.mode);
  return made.ok() ? (*made)->open(flags & kStatusFlags) : made.code();
}

}  // namespace

SysOr<NodePointer> folder_of(Call& call, int descriptor) {
  if (descriptor == AT_FDCWD) {
    return call.process.working_directory;
  }
  const std::shared_ptr<File> file = call.process.descriptors.get(descriptor);
  if (file == nullptr) {
    return Errno{EBADF};
  }
  NodePointer folder = file->directory();
  return folder == nullptr ? SysOr<NodePointer>(Errno{ENOTDIR})
                           : SysOr<NodePointer>(std::move(folder));
}

SysOr<Place> place_of(Call& call, int descriptor, UserAddress path, LastLink last) {
  SysOr<std::string> text = call.user.get_path(path);
  if (!text.ok()) {
    return text.code();
  }
  if (text->starts_with('/')) {
    return call.process.vfs->walk(call.process.vfs->root(), *text, last);
  }
  SysOr<NodePointer> folder = folder_of(call, descriptor);
  return folder.ok() ? call.process.vfs->walk(*folder, *text, last) : folder.code();
}

SysOr<Found> look_up(Call& call, const Lookup& lookup) {
  if ((lookup.flags & AT_EMPTY_PATH) != 0) {
    SysOr<std::string> text = lookup.path.value == 0 ? SysOr<std::string>(std::string())
                                                     : call.user.get_path(lookup.path);
    if (!text.ok()) {
      return text.code();
    }
    if (text->empty()) {
      if (lookup.descriptor == AT_FDCWD) {
        return Found{call.process.working_directory, nullptr};
      }
      std::shared_ptr<File> file = call.process.descriptors.get(lookup.descriptor);
      return file == nullptr ? SysOr<Found>(Errno{EBADF})
                             : SysOr<Found>(Found{file->node(), std::move(file)});
    }
  }
  const LastLink last =
      (lookup.flags & AT_SYMLINK_NOFOLLOW) != 0 ? LastLink::kKeep : LastLink::kFollow;
  SysOr<Place> place = place_of(call, lookup.descriptor, lookup.path, last);
  if (!place.ok()) {
    return place.code();
  }
  if (place->node == nullptr) {
    return Errno{ENOENT};
  }
  if (place->must_be_directory && !place->node->is_directory()) {
    return Errno{ENOTDIR};
  }
  std::shared_ptr<File> linked = last == LastLink::kFollow ? place->node->linked_file() : nullptr;
  return Found{place->node, std::move(linked)};
}

SysResult open_path(Call& call, const OpenRequest& request) {
  const int flags = request.flags;
  if ((flags & O_ACCMODE) == O_ACCMODE) {
    return -EINVAL;
  }
  const bool keeps = (flags & O_NOFOLLOW) != 0 || ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0);
  SysOr<Place> place =
      place_of(call, request.descriptor, request.path, keeps ? LastLink::kKeep : LastLink::kFollow);
  if (!place.ok()) {
    return place.error();
  }
  SysOr<std::shared_ptr<File>> file = open_place(call, *place, request);
  if (!file.ok()) {
    return file.error();
  }
  SysOr<int> added = call.process.descriptors.add({*file, (flags & O_CLOEXEC) != 0});
  return added.ok() ? *added : added.error();
}

}  // namespace stasis::linux_guest
