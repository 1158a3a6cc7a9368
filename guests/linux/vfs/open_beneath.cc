#include "guests/linux/vfs/open_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>
#include <utility>

namespace stasis::linux_guest {
namespace {

// The root itself, with other flags: there is no path to it that could change meanwhile.
SysOr<UniqueFd> reopen(int root, int flags) {
  const std::string self = "/proc/self/fd/" + std::to_string(root);
  const int fd = ::open(self.c_str(), flags | O_CLOEXEC);  // A link of ours, to be followed.
  if (fd < 0) {
    return Errno{errno};
  }
  return UniqueFd(fd);
}

}  // namespace

SysOr<UniqueFd> open_beneath_by_walking(int root, const std::string& path, int flags) {
  UniqueFd folder;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    if (name.empty() || name == "." || name == "..") {
      return Errno{EXDEV};
    }
    const bool is_last = slash == std::string_view::npos;
    rest = is_last ? std::string_view{} : rest.substr(slash + 1);
    const int how = is_last ? flags : O_PATH | O_DIRECTORY;
    UniqueFd next(::openat(folder.is_open() ? folder.get() : root, name.c_str(),
                           how | O_NOFOLLOW | O_CLOEXEC));
    if (!next.is_open()) {
      // A link in the middle is "not a directory" to the host.
      return Errno{errno};
    }
    folder = std::move(next);
  }
  return folder;
}

SysOr<UniqueFd> open_beneath(int root, const std::string& path, int flags) {
  if (path.empty()) {
    return reopen(root, flags & ~O_NOFOLLOW);
  }
  // RESOLVE_NO_SYMLINKS refuses a link as the last component too, even with O_PATH|O_NOFOLLOW
  // (openat2(2)): then the folder first, and the name by itself.
  if ((flags & O_PATH) != 0 && (flags & O_DIRECTORY) == 0) {
    const std::size_t slash = path.rfind('/');
    const bool has_folder = slash != std::string::npos;
    const std::string name = has_folder ? path.substr(slash + 1) : path;
    SysOr<UniqueFd> folder = UniqueFd();
    if (has_folder) {
      folder = open_beneath(root, path.substr(0, slash), O_PATH | O_DIRECTORY);
    }
    return folder.ok() ? open_beneath_by_walking(has_folder ? folder->get() : root, name, flags)
                       : std::move(folder);
  }
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const auto fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
  if (fd >= 0) {
    return UniqueFd(static_cast<int>(fd));
  }
  if (errno == ENOSYS || errno == EPERM) {  // Before 5.6, or a sandbox that does not know it.
    return open_beneath_by_walking(root, path, flags);
  }
  return Errno{errno};
}

}  // namespace stasis::linux_guest
