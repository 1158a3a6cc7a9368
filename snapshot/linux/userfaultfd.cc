#include "snapshot/linux/userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <string>

// Newer than the headers of some distributions. Values: include/uapi/linux/userfaultfd.h,
// Linux 6.4.
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC  // Linux 6.7, same header.
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_USER_MODE_ONLY  // Linux 5.11, same header.
#define UFFD_USER_MODE_ONLY 1
#endif
// NOLINTNEXTLINE(misc-redundant-expression): from here or from the header.
static_assert(UFFD_FEATURE_WP_ASYNC == 1 << 15 && UFFD_USER_MODE_ONLY == 1);
#ifndef USERFAULTFD_IOC_NEW  // Linux 6.1, same header.
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace stasis::snapshot::internal {
namespace {

// userfaultfd(2), UFFD_USER_MODE_ONLY: without it one needs permission, because the kernel itself
// could be made to wait for us. Where writes are let through nobody waits, neither it nor KVM.
int descriptor_flags(WriteFaults faults) {
  return O_CLOEXEC | O_NONBLOCK | (faults == WriteFaults::kLetThrough ? UFFD_USER_MODE_ONLY : 0);
}

Error open_error(int os_error) {
  Error error = errno_error(os_error, "userfaultfd");
  if (os_error == EPERM || os_error == EACCES) {
    error.message +=
        "; it must see faults inside the kernel: run as root, allow access to /dev/userfaultfd, or "
        "set vm.unprivileged_userfaultfd=1";
  } else if (os_error == ENOSYS) {
    error.code = Errc::kNotSupported;
    error.message += "; the kernel was built without CONFIG_USERFAULTFD";
  }
  return error;
}

// A descriptor before its UFFDIO_API handshake, which can be done only once.
Result<UniqueFd> open_descriptor(WriteFaults faults) {
  const int flags = descriptor_flags(faults);
  const auto fd = static_cast<int>(::syscall(SYS_userfaultfd, flags));
  if (fd >= 0) {
    return UniqueFd(fd);
  }
  const int refused = errno;
  // The device (Linux 6.1) has its own permissions: it may be open to us although the call is not.
  const UniqueFd device(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device.is_open()) {
    const int from_device = ::ioctl(device.get(), USERFAULTFD_IOC_NEW, flags);
    if (from_device >= 0) {
      return UniqueFd(from_device);
    }
  }
  return open_error(refused);
}

Result<std::uint64_t> handshake(const UniqueFd& fd, std::uint64_t features) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) {
    return errno_error(errno, "userfaultfd: UFFDIO_API");
  }
  return static_cast<std::uint64_t>(api.features);
}

uffdio_range range_of(std::span<std::byte> range) {
  uffdio_range result{};
  result.start = std::bit_cast<std::uintptr_t>(range.data());
  result.len = range.size();
  return result;
}

}  // namespace

Result<UserfaultfdFeatures> query_userfaultfd(WriteFaults faults) {
  STASIS_ASSIGN(const UniqueFd fd, open_descriptor(faults));
  STASIS_ASSIGN(const std::uint64_t offered, handshake(fd, 0));
  UserfaultfdFeatures features;
  features.write_protect = (offered & UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0;
  features.write_protect_shared = (offered & UFFD_FEATURE_WP_HUGETLBFS_SHMEM) != 0;
  features.write_protect_unpopulated = (offered & UFFD_FEATURE_WP_UNPOPULATED) != 0;
  features.write_protect_let_through = (offered & UFFD_FEATURE_WP_ASYNC) != 0;
  return features;
}

Result<std::uint64_t> offered_userfaultfd_features() {
  STASIS_ASSIGN(const UniqueFd fd, open_descriptor(WriteFaults::kReported));
  return handshake(fd, 0);
}

Result<UniqueFd> open_userfaultfd(std::uint64_t features) {
  STASIS_ASSIGN(UniqueFd fd, open_descriptor(WriteFaults::kReported));
  STASIS_TRY(handshake(fd, features));
  return fd;
}

Result<Userfaultfd> Userfaultfd::open(const UserfaultfdFeatures& features, WriteFaults faults) {
  std::uint64_t wanted = 0;
  wanted |= features.write_protect ? UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0U;
  wanted |= features.write_protect_shared ? UFFD_FEATURE_WP_HUGETLBFS_SHMEM : 0U;
  wanted |= features.write_protect_unpopulated ? UFFD_FEATURE_WP_UNPOPULATED : 0U;
  if (faults == WriteFaults::kLetThrough) {
    if (!features.write_protect_let_through) {
      return Error{Errc::kNotSupported, 0, "userfaultfd: this kernel cannot let writes through"};
    }
    wanted |= UFFD_FEATURE_WP_ASYNC;
  }
  STASIS_ASSIGN(UniqueFd fd, open_descriptor(faults));
  STASIS_TRY(handshake(fd, wanted));
  return Userfaultfd(std::move(fd));
}

Result<void> Userfaultfd::register_range(std::span<std::byte> range) {
  uffdio_register registration{};
  registration.range = range_of(range);
  registration.mode = UFFDIO_REGISTER_MODE_WP;
  if (::ioctl(fd_.get(), UFFDIO_REGISTER, &registration) != 0) {
    Error error = errno_error(errno, "userfaultfd: UFFDIO_REGISTER for write protection");
    if (error.os_error == EINVAL) {
      error.code = Errc::kNotSupported;  // The mapping is of a kind that cannot be protected.
    }
    return error;
  }
  if ((registration.ioctls & (std::uint64_t{1} << _UFFDIO_WRITEPROTECT)) == 0) {
    return Error{Errc::kNotSupported, 0, "userfaultfd: this mapping cannot be write-protected"};
  }
  return {};
}

Result<void> Userfaultfd::unregister_range(std::span<std::byte> range) {
  uffdio_range argument = range_of(range);
  if (::ioctl(fd_.get(), UFFDIO_UNREGISTER, &argument) != 0) {
    return errno_error(errno, "userfaultfd: UFFDIO_UNREGISTER");
  }
  // Unregistering wakes only who waits for a missing page, never who waits to write:
  // fs/userfaultfd.c of the kernel, userfaultfd_unregister().
  if (::ioctl(fd_.get(), UFFDIO_WAKE, &argument) != 0) {
    return errno_error(errno, "userfaultfd: UFFDIO_WAKE");
  }
  return {};
}

Result<void> Userfaultfd::protect(std::span<std::byte> range) {
  return change_protection(range, UFFDIO_WRITEPROTECT_MODE_WP);
}

Result<void> Userfaultfd::unprotect(std::span<std::byte> range) {
  return change_protection(range, 0);
}

Result<void> Userfaultfd::change_protection(std::span<std::byte> range, std::uint64_t mode) {
  uffdio_writeprotect argument{};
  argument.range = range_of(range);
  argument.mode = mode;
  // EAGAIN: the address space is changing under us (another thread maps memory). The kernel asks
  // to try again.
  while (::ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &argument) != 0) {
    if (errno != EAGAIN && errno != EINTR) {
      return errno_error(errno, "userfaultfd: UFFDIO_WRITEPROTECT");
    }
  }
  return {};
}

Result<std::vector<std::byte*>> Userfaultfd::read_faults() {
  std::array<uffd_msg, 64> messages{};
  std::vector<std::byte*> addresses;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), messages.data(), sizeof(messages));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && errno == EAGAIN) {
      return addresses;
    }
    if (got < 0) {
      return errno_error(errno, "userfaultfd: read");
    }
    const auto count = static_cast<std::size_t>(got) / sizeof(uffd_msg);
    for (const uffd_msg& message : std::span(messages).first(count)) {
      if (message.event == UFFD_EVENT_PAGEFAULT) {
        addresses.push_back(
            std::bit_cast<std::byte*>(static_cast<std::uintptr_t>(message.arg.pagefault.address)));
      }
    }
    if (count < messages.size()) {
      return addresses;
    }
  }
}

}  // namespace stasis::snapshot::internal
