// dup(2), fcntl(2), ioctl(2), close(2), and what has no effect on files that live in memory.
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/falloc.h>

#include <algorithm>
#include <vector>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/vfs/tmpfs.h"

namespace stasis::linux_guest {
namespace {

constexpr int kSettableFlags = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;

enum class OnExec : std::uint8_t { kKeep, kClose };

SysResult duplicate(Call& call, int lowest, OnExec on_exec) {
  std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  SysOr<int> added =
      call.process.descriptors.add({std::move(file), on_exec == OnExec::kClose}, lowest);
  return added.ok() ? *added : added.error();
}

SysResult lock_command(Call& call) {
  struct flock lock {};  // The only process there is never finds a lock of another one.
  const auto wanted = call.user.get<struct flock>(call.address(2));
  if (!wanted) {
    return -EFAULT;
  }
  lock = *wanted;
  if (lock.l_type != F_RDLCK && lock.l_type != F_WRLCK && lock.l_type != F_UNLCK) {
    return -EINVAL;
  }
  if (call.as_int(1) == F_GETLK || call.as_int(1) == F_OFD_GETLK) {
    lock.l_type = F_UNLCK;
    return call.user.put(call.address(2), lock);
  }
  return 0;
}

SysResult status_command(Call& call, File& file) {
  if (call.as_int(1) == F_GETFL) {
    return file.flags();
  }
  file.set_flags((file.flags() & ~kSettableFlags) | (call.as_int(2) & kSettableFlags));
  return 0;
}

SysResult duplicate_onto(Call& call, int flags) {
  std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  return call.process.descriptors.replace(call.as_int(1),
                                          {std::move(file), (flags & O_CLOEXEC) != 0});
}

}  // namespace

SysResult sys_close(Call& call) {
  return call.process.descriptors.close(call.as_int(0));
}

SysResult sys_close_range(Call& call) {
  const std::uint32_t first = call.as_u32(0);
  const std::uint32_t last = call.as_u32(1);
  const std::uint32_t flags = call.as_u32(2);
  if (first > last || (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0) {
    return -EINVAL;
  }
  std::vector<int> numbers;
  for (const auto& [number, descriptor] : call.process.descriptors.all()) {
    if (static_cast<std::uint32_t>(number) >= first && static_cast<std::uint32_t>(number) <= last) {
      numbers.push_back(number);
    }
  }
  for (const int number : numbers) {
    if ((flags & CLOSE_RANGE_CLOEXEC) != 0) {
      call.process.descriptors.find(number)->closes_on_exec = true;
    } else {
      static_cast<void>(call.process.descriptors.close(number));
    }
  }
  return 0;
}

SysResult sys_dup(Call& call) {
  return duplicate(call, 0, OnExec::kKeep);
}
SysResult sys_dup2(Call& call) {
  if (call.as_int(0) == call.as_int(1)) {
    return call.file(0) == nullptr ? -EBADF : call.as_int(0);
  }
  return duplicate_onto(call, 0);
}
SysResult sys_dup3(Call& call) {
  if (call.as_int(0) == call.as_int(1) || (call.as_int(2) & ~O_CLOEXEC) != 0) {
    return -EINVAL;
  }
  return duplicate_onto(call, call.as_int(2));
}

SysResult sys_fcntl(Call& call) {
  Descriptor* const descriptor = call.process.descriptors.find(call.as_int(0));
  if (descriptor == nullptr) {
    return -EBADF;
  }
  switch (call.as_int(1)) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      if (call.as_int(2) < 0 || call.as_int(2) >= call.process.descriptors.limit()) {
        return -EINVAL;
      }
      return duplicate(call, call.as_int(2),
                       call.as_int(1) == F_DUPFD ? OnExec::kKeep : OnExec::kClose);
    case F_GETFD:
      return descriptor->closes_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD:
      descriptor->closes_on_exec = (call.as_int(2) & FD_CLOEXEC) != 0;
      return 0;
    case F_GETFL:
    case F_SETFL:
      return status_command(call, *descriptor->file);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return lock_command(call);
    case F_GETOWN:
    case F_SETOWN:
      return 0;
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
      return descriptor->file->kind() == FileKind::kPipe ? 65536 : -EBADF;
    default:
      return -EINVAL;
  }
}

SysResult sys_ioctl(Call& call) {
  Descriptor* const descriptor = call.process.descriptors.find(call.as_int(0));
  if (descriptor == nullptr) {
    return -EBADF;
  }
  switch (call.as_u32(1)) {
    case FIOCLEX:
    case FIONCLEX:
      descriptor->closes_on_exec = call.as_u32(1) == FIOCLEX;
      return 0;
    case FIONBIO: {
      const auto on = call.user.get<int>(call.address(2));
      if (!on) {
        return -EFAULT;
      }
      const int flags = descriptor->file->flags() & ~O_NONBLOCK;
      descriptor->file->set_flags(*on != 0 ? flags | O_NONBLOCK : flags);
      return 0;
    }
    case FIONREAD: {
      const SysResult ready = descriptor->file->bytes_ready();
      return ready < 0 ? ready : call.user.put(call.address(2), static_cast<int>(ready));
    }
    default:
      return -ENOTTY;  // TCGETS and its like among them: there is no terminal.
  }
}

SysResult sys_sync_descriptor(Call& call) {
  return call.file(0) == nullptr ? -EBADF : 0;
}
SysResult sys_flock(Call& call) {
  return call.file(0) == nullptr ? -EBADF : 0;
}
SysResult sys_fadvise64(Call& call) {
  const auto file = call.file(0);
  return file == nullptr ? -EBADF : file->is_seekable() ? 0 : -ESPIPE;
}

SysResult sys_fallocate(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr || !file->can_write()) {
    return -EBADF;
  }
  auto* const tmpfs = dynamic_cast<TmpfsFile*>(file.get());
  if (tmpfs == nullptr) {
    return file->is_seekable() ? -EOPNOTSUPP : -ESPIPE;
  }
  std::uint64_t end = 0;
  if (call.as_i64(2) < 0 || call.as_i64(3) <= 0) {
    return -EINVAL;
  }
  if (__builtin_add_overflow(call[2], call[3], &end) || end > kTmpfsFileBytesMax) {
    return -EFBIG;
  }
  TmpfsInode& inode = *tmpfs->tmpfs_node()->inode();
  if (call.as_int(1) == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
    inode.punch(call[2], call[3]);
    return 0;
  }
  if ((call.as_int(1) & ~FALLOC_FL_KEEP_SIZE) != 0) {
    return -EOPNOTSUPP;
  }
  // Pages are only made when they are written; what can be promised is that there is room now.
  const TmpfsSpace& space = *inode.space();
  if (end > inode.size_bytes() &&
      end - inode.size_bytes() > space.bytes_max() - space.bytes_used()) {
    return -ENOSPC;
  }
  return call.as_int(1) == 0 && end > inode.size_bytes() ? inode.truncate(end) : 0;
}

}  // namespace stasis::linux_guest
