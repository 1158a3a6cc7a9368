#include "guests/linux/vm/program_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace stasis::linux_guest::vm {

Result<std::shared_ptr<const ProgramFile>> ProgramFile::open(const std::string& path,
                                                             std::uint64_t snapshot_id) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0) {
    Error error = errno_error(errno, "open '" + path + "'");
    error.code =
        error.os_error == ENOENT || error.os_error == ENOTDIR ? Errc::kNotFound : Errc::kIo;
    return error;
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return errno_error(errno, "open '" + path + "'");
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{.code = Errc::kInvalidArgument, .message = "'" + path + "' is not a regular file"};
  }
#if defined(__APPLE__)
  const timespec modified = status.st_mtimespec;
#else
  const timespec modified = status.st_mtim;
#endif
  const FileStamp stamp{
      .size_bytes = static_cast<std::uint64_t>(status.st_size),
      .modified_ns = std::int64_t{modified.tv_sec} * 1'000'000'000 + modified.tv_nsec};
  return std::shared_ptr<const ProgramFile>(
      new ProgramFile(std::move(fd), path, stamp, snapshot_id));
}

SysResult ProgramFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size() && offset + done < stamp_.size_bytes) {
    const ssize_t got =
        ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno != EINTR) {
      return -errno;
    }
    if (got == 0) {
      break;
    }
    done += static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  }
  return static_cast<SysResult>(done);
}

}  // namespace stasis::linux_guest::vm
