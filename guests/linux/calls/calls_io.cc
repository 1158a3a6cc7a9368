// read(2), write(2) and their relatives.
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/transfer.h"

namespace stasis::linux_guest {
namespace {

enum class Direction : std::uint8_t { kRead, kWrite };

SysResult move_spans(Call& call, Direction direction, std::span<const UserSpan> spans,
                     std::optional<std::uint64_t> at) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  if (at) {
    if (!file->is_seekable()) {
      return -ESPIPE;
    }
    if (*at > std::uint64_t{INT64_MAX}) {
      return -EINVAL;
    }
  }
  return direction == Direction::kRead ? read_file(call, *file, spans, at)
                                       : write_file(call, *file, spans, at);
}

SysResult move_buffer(Call& call, Direction direction, std::optional<std::uint64_t> at) {
  if (call[2] > std::uint64_t{INT64_MAX}) {
    return -EINVAL;
  }
  const UserSpan span{call.address(1), std::min(call[2], kTransferBytesMax)};
  return move_spans(call, direction, {&span, 1}, at);
}

SysResult move_vectors(Call& call, Direction direction, std::optional<std::uint64_t> at) {
  auto vectors = call.user.get_vectors(call.address(1), call[2]);
  return vectors.ok() ? move_spans(call, direction, *vectors, at) : vectors.error();
}

// preadv2: offset -1 is the file's own; flags change how, not what, and the ones we know are
// no-ops.
SysResult move_vectors_2(Call& call, Direction direction) {
  constexpr std::uint64_t kKnown = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT;
  if ((call[5] & ~kKnown) != 0) {
    return -EOPNOTSUPP;
  }
  return move_vectors(call, direction,
                      call[3] == UINT64_MAX ? std::nullopt : std::optional(call[3]));
}

// Between two files, through the host, as sendfile(2) does. Offsets of null pointers are the
// files'.
struct CopyEnd {
  std::shared_ptr<File> file;
  UserAddress offset_pointer;
  std::uint64_t offset = 0;
};

SysResult find_end(Call& call, CopyEnd& end) {
  if (end.file == nullptr) {
    return -EBADF;
  }
  end.offset = end.file->offset();
  if (end.offset_pointer.value != 0) {
    const auto offset = call.user.get<std::int64_t>(end.offset_pointer);
    if (!offset) {
      return -EFAULT;
    }
    if (*offset < 0 || !end.file->is_seekable()) {
      return *offset < 0 ? -EINVAL : -ESPIPE;
    }
    end.offset = static_cast<std::uint64_t>(*offset);
  }
  return 0;
}

SysResult finish_end(Call& call, const CopyEnd& end, std::uint64_t moved) {
  if (end.offset_pointer.value != 0) {
    return call.user.put(end.offset_pointer, end.offset + moved);
  }
  if (end.file->is_seekable()) {
    end.file->set_offset(end.offset + moved);
  }
  return 0;
}

SysResult copy_between(Call& call, CopyEnd in, CopyEnd out, std::uint64_t count) {
  if (const SysResult wrong = std::min(find_end(call, in), find_end(call, out)); wrong != 0) {
    return wrong;
  }
  if (!in.file->can_read() || !out.file->can_write()) {
    return -EBADF;
  }
  if (!in.file->is_seekable() || (out.file->flags() & O_APPEND) != 0) {
    return -EINVAL;
  }
  count = std::min(count, kTransferBytesMax);
  std::vector<std::byte> piece(std::min<std::uint64_t>(count, 65536));
  std::uint64_t moved = 0;
  SysResult stopped_by = 0;
  while (moved < count && stopped_by == 0) {
    const auto wanted =
        std::span(piece).first(std::min<std::uint64_t>(piece.size(), count - moved));
    const SysResult got = in.file->read(in.offset + moved, wanted);
    if (got <= 0) {
      stopped_by = got;
      break;
    }
    const SysResult written =
        out.file->write(out.offset + moved, wanted.first(static_cast<std::size_t>(got)));
    moved += written > 0 ? static_cast<std::uint64_t>(written) : 0;
    stopped_by = written < 0 ? written : 0;
    if (written < got) {
      break;
    }
  }
  if (moved == 0 && stopped_by == -EAGAIN && !out.file->is_nonblocking()) {
    return call.wait({Wait::Until::kReady, {}, true});
  }
  const SysResult wrong = std::min(finish_end(call, in, moved), finish_end(call, out, moved));
  return wrong != 0 ? wrong : moved != 0 ? static_cast<SysResult>(moved) : stopped_by;
}

}  // namespace

SysResult sys_read(Call& call) {
  return move_buffer(call, Direction::kRead, {});
}
SysResult sys_write(Call& call) {
  return move_buffer(call, Direction::kWrite, {});
}
SysResult sys_pread64(Call& call) {
  return move_buffer(call, Direction::kRead, call[3]);
}
SysResult sys_pwrite64(Call& call) {
  return move_buffer(call, Direction::kWrite, call[3]);
}
SysResult sys_readv(Call& call) {
  return move_vectors(call, Direction::kRead, {});
}
SysResult sys_writev(Call& call) {
  return move_vectors(call, Direction::kWrite, {});
}
SysResult sys_preadv(Call& call) {
  return move_vectors(call, Direction::kRead, call[3]);
}
SysResult sys_pwritev(Call& call) {
  return move_vectors(call, Direction::kWrite, call[3]);
}
SysResult sys_preadv2(Call& call) {
  return move_vectors_2(call, Direction::kRead);
}
SysResult sys_pwritev2(Call& call) {
  return move_vectors_2(call, Direction::kWrite);
}

SysResult sys_sendfile(Call& call) {
  return copy_between(call, {call.file(1), call.address(2)}, {call.file(0), {}}, call[3]);
}
SysResult sys_copy_file_range(Call& call) {
  if (call[5] != 0) {
    return -EINVAL;
  }
  return copy_between(call, {call.file(0), call.address(1)}, {call.file(2), call.address(3)},
                      call[4]);
}

SysResult sys_lseek(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  if (!file->is_seekable()) {
    return -ESPIPE;
  }
  const auto size = static_cast<std::int64_t>(file->stat().size_bytes);
  const std::int64_t wanted = call.as_i64(1);
  std::int64_t from = 0;
  switch (call.as_int(2)) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      from = static_cast<std::int64_t>(file->offset());
      break;
    case SEEK_END:
      from = size;
      break;
    case SEEK_DATA:  // A file without holes, as lseek(2) allows.
    case SEEK_HOLE:
      if (wanted < 0 || wanted >= size) {
        return -ENXIO;
      }
      from = call.as_int(2) == SEEK_HOLE ? size - wanted : 0;
      break;
    default:
      return -EINVAL;
  }
  std::int64_t target = 0;
  if (__builtin_add_overflow(from, wanted, &target) || target < 0) {
    return target < 0 && from >= 0 && wanted < 0 ? -EINVAL : -EOVERFLOW;
  }
  file->set_offset(static_cast<std::uint64_t>(target));
  return target;
}

}  // namespace stasis::linux_guest
