#include "guests/linux/files/pipe.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>

namespace stasis::linux_guest {
namespace {

SysResult take(PipeBuffer& pipe, std::span<std::byte> out) {
  if (pipe.bytes.empty()) {
    return pipe.writers == 0 ? 0 : -EAGAIN;
  }
  const std::size_t count = std::min(out.size(), pipe.bytes.size());
  const auto end = pipe.bytes.begin() + static_cast<std::ptrdiff_t>(count);
  std::copy(pipe.bytes.begin(), end, out.begin());
  pipe.bytes.erase(pipe.bytes.begin(), end);
  ++pipe.activity;
  return static_cast<SysResult>(count);
}

SysResult put(PipeBuffer& pipe, std::span<const std::byte> bytes) {
  if (pipe.readers == 0) {
    return -EPIPE;
  }
  const std::size_t room = kPipeBytesMax - std::min(kPipeBytesMax, pipe.bytes.size());
  // What fits PIPE_BUF goes in whole or not at all (pipe(7)).
  if (room == 0 || (bytes.size() <= PIPE_BUF && bytes.size() > room)) {
    return -EAGAIN;
  }
  const std::size_t count = std::min(bytes.size(), room);
  pipe.bytes.insert(pipe.bytes.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(count));
  ++pipe.activity;
  return static_cast<SysResult>(count);
}

std::uint32_t read_events(const PipeBuffer& pipe) {
  return (pipe.bytes.empty() ? 0U : POLLIN | POLLRDNORM) | (pipe.writers == 0 ? POLLHUP : 0U);
}

std::uint32_t write_events(const PipeBuffer& pipe) {
  const bool has_room = kPipeBytesMax - std::min(kPipeBytesMax, pipe.bytes.size()) >= PIPE_BUF;
  return (has_room ? POLLOUT | POLLWRNORM : 0U) | (pipe.readers == 0 ? POLLERR : 0U);
}

FileStat stat_of_stream(std::uint32_t type, std::uint64_t inode) {
  FileStat stat;
  stat.device = 3;
  stat.mode = type | 0600U;
  stat.inode = inode;
  return stat;
}

}  // namespace

PipeFile::PipeFile(int flags, PipePointer pipe, std::uint64_t inode)
    : File(FileKind::kPipe, flags, "pipe:[" + std::to_string(inode) + "]"),
      pipe_(std::move(pipe)),
      inode_(inode) {
  ++(can_read() ? pipe_->readers : pipe_->writers);
}

PipeFile::~PipeFile() {
  --(can_read() ? pipe_->readers : pipe_->writers);
  ++pipe_->activity;
}

SysResult PipeFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  return take(*pipe_, out);
}
SysResult PipeFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  return put(*pipe_, bytes);
}
FileStat PipeFile::stat() const {
  return stat_of_stream(S_IFIFO, inode_);
}
std::uint32_t PipeFile::poll() const {
  return can_read() ? read_events(*pipe_) : write_events(*pipe_);
}
SysResult PipeFile::bytes_ready() const {
  return static_cast<SysResult>(pipe_->bytes.size());
}

SocketFile::SocketFile(int flags, PipePointer in, PipePointer out, std::uint64_t inode)
    : File(FileKind::kSocket, flags, "socket:[" + std::to_string(inode) + "]"),
      in_(std::move(in)),
      out_(std::move(out)),
      inode_(inode) {
  ++in_->readers;
  ++out_->writers;
}

SocketFile::~SocketFile() {
  shut_down(true, true);
}

void SocketFile::shut_down(bool reading, bool writing) {
  if (reading && reads_) {
    reads_ = false;
    --in_->readers;
    ++in_->activity;
  }
  if (writing && writes_) {
    writes_ = false;
    --out_->writers;
    ++out_->activity;
  }
}

SysResult SocketFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  return reads_ ? take(*in_, out) : 0;
}
SysResult SocketFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  return writes_ ? put(*out_, bytes) : -EPIPE;
}
FileStat SocketFile::stat() const {
  return stat_of_stream(S_IFSOCK, inode_);
}
std::uint32_t SocketFile::poll() const {
  const bool is_at_end = !reads_ || in_->writers == 0;
  std::uint32_t events = (reads_ && !in_->bytes.empty()) || is_at_end ? POLLIN | POLLRDNORM : 0U;
  events |= is_at_end ? POLLRDHUP : 0U;
  events |= is_at_end && (!writes_ || out_->readers == 0) ? POLLHUP : 0U;
  return events | (writes_ ? write_events(*out_) & ~std::uint32_t{POLLERR} : 0U);
}
SysResult SocketFile::bytes_ready() const {
  return static_cast<SysResult>(in_->bytes.size());
}

}  // namespace stasis::linux_guest
