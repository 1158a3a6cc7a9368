#include "guests/linux/files/text_file.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

namespace stasis::linux_guest {

SysResult TextFile::read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset >= content_.size() || out.empty()) {
    return 0;
  }
  const std::size_t count = std::min<std::size_t>(out.size(), content_.size() - offset);
  std::memcpy(out.data(), content_.data() + offset, count);
  return static_cast<SysResult>(count);
}

SysResult TextFile::write(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {
  return -EACCES;
}

}  // namespace stasis::linux_guest
