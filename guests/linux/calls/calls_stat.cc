// stat(2), access(2), readlink(2), getdents64(2), statfs(2): looking, without changing.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/paths.h"
#include "guests/linux/calls/times.h"
#include "guests/linux/files/directory_file.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kListedMax = 1'000'000;  // Names kept by all open folders together.

SysResult put_stat(Call& call, UserAddress to, const FileStat& from) {
  struct stat stat {};  // On x86-64 the C library's is the kernel's.
  stat.st_dev = from.device;
  stat.st_ino = from.inode;
  stat.st_mode = from.mode;
  stat.st_nlink = from.links;
  stat.st_uid = from.user;
  stat.st_gid = from.group;
  stat.st_rdev = from.special_device;
  stat.st_size = static_cast<off_t>(from.size_bytes);
  stat.st_blksize = static_cast<blksize_t>(kPageBytes);
  stat.st_blocks = static_cast<blkcnt_t>(from.blocks);
  stat.st_atim = timespec_of(from.accessed_ns);
  stat.st_mtim = timespec_of(from.modified_ns);
  stat.st_ctim = timespec_of(from.changed_ns);
  return call.user.put(to, stat);
}

SysResult stat_path(Call& call, const Lookup& lookup, UserAddress to) {
  SysOr<Found> found = look_up(call, lookup);
  return found.ok() ? put_stat(call, to, found->stat()) : found.error();
}

statx_timestamp statx_time(std::int64_t ns) {
  statx_timestamp at{};
  at.tv_sec = ns / kNsPerSecond;
  at.tv_nsec = static_cast<std::uint32_t>(ns % kNsPerSecond);
  return at;
}

SysResult access_path(Call& call, const Lookup& lookup, int mode) {
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) {
    return -EINVAL;
  }
  SysOr<Found> found = look_up(call, lookup);
  if (!found.ok()) {
    return found.error();
  }
  const std::uint32_t bits = found->stat().mode;
  if ((mode & W_OK) != 0 && found->node != nullptr && !found->node->is_writable()) {
    return -EROFS;
  }
  // Root may do everything but execute a file that nobody may.
  return (mode & X_OK) != 0 && !S_ISDIR(bits) && (bits & 0111U) == 0 ? -EACCES : 0;
}

SysResult read_link(Call& call, int descriptor, std::size_t first) {
  const int size = call.as_int(first + 2);
  if (size <= 0) {
    return -EINVAL;
  }
  SysOr<Found> found =
      look_up(call, {descriptor, call.address(first), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH});
  if (!found.ok()) {
    return found.error();
  }
  if (found->node == nullptr || !found->node->is_link()) {
    return -EINVAL;
  }
  const std::string target = found->node->link_target();
  const std::size_t count = std::min(target.size(), static_cast<std::size_t>(size));
  const SysResult wrong =
      call.user.put_bytes(call.address(first + 1), std::as_bytes(std::span(target)).first(count));
  return wrong != 0 ? wrong : static_cast<SysResult>(count);
}

// As struct linux_dirent64, padded to a multiple of 8.
std::vector<std::byte> record_of(const DirectoryEntry& entry, std::uint64_t next) {
  const std::size_t size = (19 + entry.name.size() + 1 + 7) / 8 * 8;
  std::vector<std::byte> record(size);
  const auto short_size = static_cast<std::uint16_t>(size);
  std::memcpy(record.data(), &entry.inode, 8);
  std::memcpy(&record[8], &next, 8);
  std::memcpy(&record[16], &short_size, 2);
  record[18] = std::byte{entry.type};
  std::memcpy(&record[19], entry.name.data(), entry.name.size());
  return record;
}

bool too_much_is_listed(const Process& process) {
  std::size_t listed = 0;
  for (const auto& [number, descriptor] : process.descriptors.all()) {
    if (const auto* const folder = dynamic_cast<const DirectoryFile*>(descriptor.file.get())) {
      listed += folder->listed().size();
    }
  }
  return listed > kListedMax;
}

SysResult put_statfs(Call& call, UserAddress to, const Node* node) {
  struct statfs facts {};
  const bool is_tmpfs = dynamic_cast<const TmpfsNode*>(node) != nullptr;
  const TmpfsSpace& space = *call.process.vfs->space();
  facts.f_type = is_tmpfs ? 0x01021994 : 0xef53;  // TMPFS_MAGIC, EXT2_SUPER_MAGIC
  facts.f_bsize = static_cast<__fsword_t>(kPageBytes);
  facts.f_frsize = facts.f_bsize;
  facts.f_namelen = 255;
  facts.f_flags = is_tmpfs ? 0 : 1;  // ST_RDONLY
  if (is_tmpfs) {
    facts.f_blocks = space.bytes_max() / kPageBytes;
    facts.f_bfree = facts.f_bavail = (space.bytes_max() - space.bytes_used()) / kPageBytes;
    facts.f_files = space.bytes_max() / kTmpfsInodeCost;
    facts.f_ffree = (space.bytes_max() - space.bytes_used()) / kTmpfsInodeCost;
  }
  return call.user.put(to, facts);
}

}  // namespace

SysResult sys_stat(Call& call) {
  return stat_path(call, {AT_FDCWD, call.address(0), 0}, call.address(1));
}
SysResult sys_lstat(Call& call) {
  return stat_path(call, {AT_FDCWD, call.address(0), AT_SYMLINK_NOFOLLOW}, call.address(1));
}
SysResult sys_fstat(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  return file == nullptr ? -EBADF : put_stat(call, call.address(1), file->stat());
}
SysResult sys_newfstatat(Call& call) {
  constexpr int kKnown = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
  if ((call.as_int(3) & ~kKnown) != 0) {
    return -EINVAL;
  }
  return stat_path(call, {call.as_int(0), call.address(1), call.as_int(3)}, call.address(2));
}

SysResult sys_statx(Call& call) {
  constexpr int kKnown = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE;
  if ((call.as_int(2) & ~kKnown) != 0 || (call.as_u32(3) & 0x80000000U) != 0) {
    return -EINVAL;
  }
  SysOr<Found> found = look_up(call, {call.as_int(0), call.address(1), call.as_int(2)});
  if (!found.ok()) {
    return found.error();
  }
  const FileStat from = found->stat();
  struct statx facts {};
  facts.stx_mask = STATX_BASIC_STATS;
  facts.stx_blksize = static_cast<std::uint32_t>(kPageBytes);
  facts.stx_nlink = static_cast<std::uint32_t>(from.links);
  facts.stx_uid = from.user;
  facts.stx_gid = from.group;
  facts.stx_mode = static_cast<std::uint16_t>(from.mode);
  facts.stx_ino = from.inode;
  facts.stx_size = from.size_bytes;
  facts.stx_blocks = from.blocks;
  facts.stx_atime = statx_time(from.accessed_ns);
  facts.stx_mtime = statx_time(from.modified_ns);
  facts.stx_ctime = statx_time(from.changed_ns);
  facts.stx_rdev_major = gnu_dev_major(from.special_device);
  facts.stx_rdev_minor = gnu_dev_minor(from.special_device);
  facts.stx_dev_major = gnu_dev_major(from.device);
  facts.stx_dev_minor = gnu_dev_minor(from.device);
  return call.user.put(call.address(4), facts);
}

SysResult sys_access(Call& call) {
  return access_path(call, {AT_FDCWD, call.address(0), 0}, call.as_int(1));
}
SysResult sys_faccessat(Call& call) {
  return access_path(call, {call.as_int(0), call.address(1), 0}, call.as_int(2));
}
SysResult sys_faccessat2(Call& call) {
  if ((call.as_int(3) & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
    return -EINVAL;
  }
  return access_path(call, {call.as_int(0), call.address(1), call.as_int(3)}, call.as_int(2));
}

SysResult sys_readlink(Call& call) {
  return read_link(call, AT_FDCWD, 0);
}
SysResult sys_readlinkat(Call& call) {
  return read_link(call, call.as_int(0), 1);
}

SysResult sys_getdents64(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  auto* const folder = dynamic_cast<DirectoryFile*>(file.get());
  if (folder == nullptr || (file->flags() & O_PATH) != 0) {
    return folder == nullptr ? -ENOTDIR : -EBADF;
  }
  if (file->offset() == 0 && too_much_is_listed(call.process)) {
    return -ENOMEM;
  }
  SysOr<const std::vector<DirectoryEntry>*> entries = folder->entries();
  if (!entries.ok()) {
    return entries.error();
  }
  std::uint64_t moved = 0;
  std::uint64_t at = file->offset();
  for (; at < (*entries)->size(); ++at) {
    const std::vector<std::byte> record = record_of((**entries)[at], at + 1);
    if (moved + record.size() > call.as_u32(2)) {
      if (moved == 0) {
        return -EINVAL;
      }
      break;
    }
    if (call.user.put_bytes(call.address(1) + moved, record) != 0) {
      return -EFAULT;
    }
    moved += record.size();
  }
  file->set_offset(at);
  return static_cast<SysResult>(moved);
}

SysResult sys_statfs(Call& call) {
  SysOr<Found> found = look_up(call, {AT_FDCWD, call.address(0), 0});
  return found.ok() ? put_statfs(call, call.address(1), found->node.get()) : found.error();
}
SysResult sys_fstatfs(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  return file == nullptr ? -EBADF : put_statfs(call, call.address(1), file->node().get());
}

SysResult sys_getcwd(Call& call) {
  const std::string path = call.process.working_directory->path();
  if (path.size() + 1 > call[1]) {
    return -ERANGE;
  }
  const auto bytes = std::as_bytes(std::span(path.c_str(), path.size() + 1));
  const SysResult wrong = call.user.put_bytes(call.address(0), bytes);
  return wrong != 0 ? wrong : static_cast<SysResult>(bytes.size());
}

}  // namespace stasis::linux_guest
