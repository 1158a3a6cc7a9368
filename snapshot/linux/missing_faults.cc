#include "snapshot/linux/missing_faults.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>
#include <string_view>

#include "snapshot/linux/userfaultfd.h"

namespace stasis::snapshot::internal {
namespace {

// The C library's headers may be older; the names are ours so that they may be newer, too.
constexpr std::uint64_t kFeatureMove = std::uint64_t{1} << 16U;  // UFFD_FEATURE_MOVE
struct MoveArgument {                                            // struct uffdio_move
  std::uint64_t dst;
  std::uint64_t src;
  std::uint64_t len;
  std::uint64_t mode;
  std::int64_t moved;
};
constexpr unsigned long kMove = _IOWR(UFFDIO, 0x05, MoveArgument);  // UFFDIO_MOVE

std::uint64_t address(const std::byte* pointer) {
  return std::bit_cast<std::uintptr_t>(pointer);
}

uffdio_range range_of(std::span<std::byte> range) {
  uffdio_range result{};
  result.start = address(range.data());
  result.len = range.size();
  return result;
}

std::size_t host_page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

Result<MissingFaultFeatures> query_missing_faults() {
  STASIS_ASSIGN(const std::uint64_t offered, offered_userfaultfd_features());
  MissingFaultFeatures features;
  features.shared = (offered & UFFD_FEATURE_MISSING_SHMEM) != 0;
  features.move = (offered & kFeatureMove) != 0;
  return features;
}

Result<MissingFaults> MissingFaults::open() {
  // Features tell what there is; none of what is used here has to be asked for.
  STASIS_ASSIGN(UniqueFd fd, open_userfaultfd(0));
  return MissingFaults(std::move(fd));
}

Result<void> MissingFaults::register_range(std::span<std::byte> range) {
  uffdio_register registration{};
  registration.range = range_of(range);
  registration.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(fd_.get(), UFFDIO_REGISTER, &registration) != 0) {
    Error error = errno_error(errno, "userfaultfd: UFFDIO_REGISTER for missing pages");
    if (error.os_error == ENOMEM) {
      error.message += "; the process has too many mappings (vm.max_map_count) or no memory";
    } else if (error.os_error == EINVAL) {
      error.code = Errc::kNotSupported;  // The mapping is of a kind that cannot be served.
    }
    return error;
  }
  return {};
}

Result<void> MissingFaults::unregister_range(std::span<std::byte> range) {
  uffdio_range argument = range_of(range);
  if (::ioctl(fd_.get(), UFFDIO_UNREGISTER, &argument) != 0) {
    return errno_error(errno, "userfaultfd: UFFDIO_UNREGISTER");
  }
  return {};
}

Result<std::optional<MissingFault>> MissingFaults::read_fault() {
  uffd_msg message{};
  for (;;) {
    const ssize_t got = ::read(fd_.get(), &message, sizeof(message));
    if (got == static_cast<ssize_t>(sizeof(message))) {
      if (message.event != UFFD_EVENT_PAGEFAULT) {
        continue;  // Others were not asked for.
      }
      break;
    }
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && errno == EAGAIN) {
      return std::optional<MissingFault>();
    }
    return errno_error(got < 0 ? errno : EIO, "userfaultfd: read");
  }
  // NOLINTBEGIN(cppcoreguidelines-pro-type-union-access): the shape of uffd_msg.
  const std::uint64_t touched = message.arg.pagefault.address;
  const std::uint64_t flags = message.arg.pagefault.flags;
  // NOLINTEND(cppcoreguidelines-pro-type-union-access)
  const std::uint64_t page = touched - (touched % host_page_bytes());
  return std::optional(MissingFault{std::bit_cast<std::byte*>(static_cast<std::uintptr_t>(page)),
                                    (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0});
}

Result<void> MissingFaults::wake(std::span<std::byte> range) {
  uffdio_range argument = range_of(range);
  if (::ioctl(fd_.get(), UFFDIO_WAKE, &argument) != 0) {
    return errno_error(errno, "userfaultfd: UFFDIO_WAKE");
  }
  return {};
}

// `place_some(begin, bytes)` is the ioctl; it returns what the kernel says was done: bytes, or -1
// with errno and then perhaps bytes in `done`. The kernel does not wake who waits for a page that
// turned out to be there.
template <typename Place>
Result<void> MissingFaults::place(std::span<std::byte> to, std::string_view what,
                                  Place place_some) {
  std::size_t offset = 0;
  while (offset < to.size()) {
    std::int64_t done = 0;
    const int outcome = place_some(offset, to.size() - offset, done);
    const int os_error = errno;
    if (outcome == 0) {
      return {};
    }
    offset += done > 0 ? static_cast<std::size_t>(done) : 0U;
    if (os_error == EEXIST) {
      STASIS_TRY(wake(to.subspan(offset, host_page_bytes())));
      offset += host_page_bytes();
    } else if (os_error == ENOENT || os_error == ESRCH) {
      return {};  // Not registered any more, or the process is ending.
    } else if (os_error != EAGAIN && os_error != EINTR) {
      return errno_error(os_error, "userfaultfd: " + std::string(what));
    }
  }
  return {};
}

Result<void> MissingFaults::copy(std::span<std::byte> to, const std::byte* from) {
  return place(to, "UFFDIO_COPY", [&](std::size_t offset, std::size_t bytes, std::int64_t& done) {
    uffdio_copy argument{};
    argument.dst = address(to.data()) + offset;
    argument.src = address(from) + offset;
    argument.len = bytes;
    const int outcome = ::ioctl(fd_.get(), UFFDIO_COPY, &argument);
    done = argument.copy;
    return outcome;
  });
}

Result<void> MissingFaults::zero(std::span<std::byte> to) {
  return place(to, "UFFDIO_ZEROPAGE",
               [&](std::size_t offset, std::size_t bytes, std::int64_t& done) {
                 uffdio_zeropage argument{};
                 argument.range.start = address(to.data()) + offset;
                 argument.range.len = bytes;
                 const int outcome = ::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &argument);
                 done = argument.zeropage;
                 return outcome;
               });
}

Result<void> MissingFaults::move(std::span<std::byte> to, std::byte* from) {
  auto moved =
      place(to, "UFFDIO_MOVE", [&](std::size_t offset, std::size_t bytes, std::int64_t& done) {
        MoveArgument argument{address(to.data()) + offset, address(from) + offset, bytes, 0, 0};
        const int outcome = ::ioctl(fd_.get(), kMove, &argument);
        done = argument.moved;
        return outcome;
      });
  if (!moved && (moved.error().os_error == EINVAL || moved.error().os_error == ENOTTY)) {
    return Error{Errc::kNotSupported, moved.error().os_error,
                 moved.error().message + "; it needs Linux 6.8 and private anonymous memory"};
  }
  return moved;
}

}  // namespace stasis::snapshot::internal
