#include "guests/linux/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

namespace stasis::linux_guest {

SysResult File::read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) {
  return -EINVAL;
}
SysResult File::write(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {
  return -EINVAL;
}
std::uint32_t File::poll() const {
  return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}
SysResult File::truncate(std::uint64_t /*size_bytes*/) {
  return -EINVAL;
}
SysResult File::bytes_ready() const {
  return -ENOTTY;
}
SysOr<std::shared_ptr<const MappedFile>> File::mapping() {
  return Errno{ENODEV};
}

bool File::can_read() const {
  return (flags_ & O_PATH) == 0 && (flags_ & O_ACCMODE) != O_WRONLY;
}
bool File::can_write() const {
  return (flags_ & O_PATH) == 0 && (flags_ & O_ACCMODE) != O_RDONLY;
}
bool File::is_nonblocking() const {
  return (flags_ & O_NONBLOCK) != 0;
}

}  // namespace stasis::linux_guest
