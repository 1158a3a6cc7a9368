#include "guests/linux/kernel/user_access.h"

#include <errno.h>
#include <sys/uio.h>

#include <algorithm>
#include <limits>
#include <string_view>

namespace stasis::linux_guest {

SysResult UserAccess::put_bytes(UserAddress to, std::span<const std::byte> bytes) const {
  return memory_->write(to, bytes) == bytes.size() ? 0 : -EFAULT;
}

SysResult UserAccess::get_bytes(UserAddress from, std::span<std::byte> out) const {
  return memory_->read(from, out) == out.size() ? 0 : -EFAULT;
}

SysOr<std::string> UserAccess::get_string(UserAddress from, std::size_t bytes_max) const {
  std::string text;
  std::array<char, 256> piece{};
  while (text.size() < bytes_max) {
    // Never across a page boundary: what follows may be unmapped and must not be touched.
    const UserAddress at = from + text.size();
    const std::size_t wanted =
        std::min({piece.size(), bytes_max - text.size(), kPageBytes - (at.value % kPageBytes)});
    const auto bytes = std::as_writable_bytes(std::span(piece)).first(wanted);
    const std::size_t got = memory_->read(at, bytes);
    const std::string_view seen(piece.data(), got);
    const std::size_t end = seen.find('\0');
    text.append(seen.substr(0, end));
    if (end != std::string_view::npos) {
      return text;
    }
    if (got < wanted) {
      return Errno{EFAULT};
    }
  }
  return Errno{ENAMETOOLONG};
}

SysOr<std::vector<UserSpan>> UserAccess::get_vectors(UserAddress from, std::uint64_t count) const {
  if (count > kVectorsMax) {
    return Errno{EINVAL};
  }
  static_assert(sizeof(iovec) == 16 && sizeof(UserSpan) == 16);
  auto vectors = get_array<UserSpan>(from, count);
  if (!vectors) {
    return Errno{EFAULT};
  }
  std::uint64_t left = kTransferBytesMax;
  for (UserSpan& vector : *vectors) {
    if (vector.size_bytes > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return Errno{EINVAL};
    }
    vector.size_bytes = std::min(vector.size_bytes, left);
    left -= vector.size_bytes;
  }
  return *std::move(vectors);
}

}  // namespace stasis::linux_guest
