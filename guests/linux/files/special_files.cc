#include "guests/linux/files/special_files.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

#include <cstring>
#include <limits>

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kEventMax = std::numeric_limits<std::uint64_t>::max() - 1;

FileStat stat_of_kind(std::uint32_t mode, std::uint64_t inode) {
  FileStat stat;
  stat.device = 4;
  stat.mode = mode;
  stat.inode = inode;
  return stat;
}

SysResult put_count(std::span<std::byte> out, std::uint64_t count) {
  std::memcpy(out.data(), &count, sizeof count);
  return sizeof count;
}

}  // namespace

SysResult DeviceFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  switch (device_) {
    case DeviceKind::kNull:
      return 0;
    case DeviceKind::kRandom:
      random_(out);
      break;
    default:
      std::memset(out.data(), 0, out.size());
  }
  return static_cast<SysResult>(out.size());
}

SysResult DeviceFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  return device_ == DeviceKind::kFull ? -ENOSPC : static_cast<SysResult>(bytes.size());
}

FileStat DeviceFile::stat() const {
  FileStat stat = stat_of_kind(S_IFCHR | 0666U, number_ + 1);
  stat.special_device = number_;
  return stat;
}

SysResult ConsoleFile::read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) {
  return 0;
}

SysResult ConsoleFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  if (output_) {
    output_(number_,
            {static_cast<const char*>(static_cast<const void*>(bytes.data())), bytes.size()});
  }
  return static_cast<SysResult>(bytes.size());
}

FileStat ConsoleFile::stat() const {
  return stat_of_kind(S_IFIFO | 0600U, static_cast<std::uint64_t>(number_) + 1);
}

std::uint32_t ConsoleFile::poll() const {
  return can_read() ? POLLIN | POLLRDNORM | POLLHUP : POLLOUT | POLLWRNORM;
}

SysResult EventFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  if (out.size() < sizeof count_) {
    return -EINVAL;
  }
  if (count_ == 0) {
    return -EAGAIN;
  }
  const std::uint64_t taken = is_semaphore_ ? 1 : count_;
  count_ -= taken;
  ++activity_;
  return put_count(out, taken);
}

SysResult EventFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  std::uint64_t added = 0;
  if (bytes.size() < sizeof added) {
    return -EINVAL;
  }
  std::memcpy(&added, bytes.data(), sizeof added);
  if (added > kEventMax) {
    return -EINVAL;
  }
  if (added > kEventMax - count_) {
    return -EAGAIN;
  }
  count_ += added;
  ++activity_;
  return sizeof added;
}

FileStat EventFile::stat() const {
  return stat_of_kind(0600, 10);
}

std::uint32_t EventFile::poll() const {
  return (count_ != 0 ? POLLIN | POLLRDNORM : 0U) |
         (count_ < kEventMax ? POLLOUT | POLLWRNORM : 0U);
}

std::uint64_t TimerFile::expirations() const {
  if (!next_ || !clock_->is_past(*next_)) {
    return 0;
  }
  if (interval_ns_ == 0) {
    return 1;
  }
  const std::int64_t late = add_ns(clock_->now_ns(clock_kind_), -next_->at_ns);
  return 1 + static_cast<std::uint64_t>(late / interval_ns_);
}

SysResult TimerFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  if (out.size() < sizeof(std::uint64_t)) {
    return -EINVAL;
  }
  const std::uint64_t count = expirations();
  if (count == 0) {
    return -EAGAIN;
  }
  if (interval_ns_ == 0) {
    next_.reset();
  } else {
    // Cannot overflow: count * interval_ns_ is at most what has passed since next_, and one more.
    next_->at_ns = add_ns(next_->at_ns, static_cast<std::int64_t>(count) * interval_ns_);
  }
  return put_count(out, count);
}

FileStat TimerFile::stat() const {
  return stat_of_kind(0600, 11);
}

std::uint32_t TimerFile::poll() const {
  return expirations() != 0 ? POLLIN | POLLRDNORM : 0U;
}

std::optional<Deadline> TimerFile::deadline() const {
  return expirations() != 0 ? std::nullopt : next_;
}

}  // namespace stasis::linux_guest
