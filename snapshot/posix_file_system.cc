// The host's file system. The only file of the format that names system calls.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/unique_fd.h"
#include "snapshot/file_system.h"

namespace stasis::snapshot {
namespace {

// The kind of failure decides the code, the words are the system's.
Error path_error(int os_error, std::string_view action, const std::string& path) {
  Error error = errno_error(os_error, std::string(action) + " '" + path + "'");
  if (os_error == ENOENT) {
    error.code = Errc::kNotFound;
  } else if (os_error == EEXIST || os_error == ENOTEMPTY) {
    error.code = Errc::kAlreadyExists;
  }
  return error;
}

// Repeats a call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  auto outcome = call();
  while (outcome < 0 && errno == EINTR) {
    outcome = call();
  }
  return outcome;
}

Result<void> sync_fd(int fd, const std::string& path) {
#ifdef __APPLE__
  // fsync() there does not reach through the drive's cache; not every file system knows the other.
  if (::fcntl(fd, F_FULLFSYNC) == 0) {
    return {};
  }
#endif
  if (retry([&] { return ::fsync(fd); }) != 0) {
    return path_error(errno, "sync", path);
  }
  return {};
}

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(std::string path, UniqueFd fd, std::uint64_t size_bytes)
      : path_(std::move(path)), fd_(std::move(fd)), size_bytes_(size_bytes) {}

  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] int fd() const override { return fd_.get(); }

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = retry(
          [&] { return ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset)); });
      if (got < 0) {
        return path_error(errno, "read", path_);
      }
      if (got == 0) {
        return Error{Errc::kCorruption, 0,
                     "'" + path_ + "' ends at byte " + std::to_string(offset) + ", " +
                         std::to_string(out.size()) + " more bytes are needed"};
      }
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return {};
  }

 private:
  std::string path_;
  UniqueFd fd_;
  std::uint64_t size_bytes_;
};

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  Result<void> write_at(std::uint64_t offset,
                        std::span<const std::span<const std::byte>> pieces) override {
    while (!pieces.empty()) {
      const std::size_t count = std::min<std::size_t>(pieces.size(), kPiecesMax);
      STASIS_TRY(write_some(offset, pieces.first(count)));
      pieces = pieces.subspan(count);
    }
    return {};
  }

  Result<void> set_size(std::uint64_t bytes) override {
    if (retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(bytes)); }) != 0) {
      return path_error(errno, "set the size of", path_);
    }
    return {};
  }

  void start_writeback([[maybe_unused]] std::uint64_t offset,
                       [[maybe_unused]] std::uint64_t bytes) override {
#ifdef __linux__
    // A hint: its failure changes nothing, sync() reports.
    static_cast<void>(::sync_file_range(fd_.get(), static_cast<off_t>(offset),
                                        static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE));
#endif
  }

  Result<void> sync() override {
    return sync_fd(fd_.get(), path_);
  }
  Result<void> close() override {
    if (auto closed = fd_.close(); !closed) {
      return std::move(closed).error().with_context("close '" + path_ + "'");
    }
    return {};
  }

 private:
  static constexpr std::size_t kPiecesMax = 256;  // Below every system's IOV_MAX (Linux: 1024).

  // All of at most kPiecesMax pieces; advances `offset`.
  Result<void> write_some(std::uint64_t& offset,
                          std::span<const std::span<const std::byte>> pieces) {
    std::array<iovec, kPiecesMax> vectors = {};
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      // iovec is not const-correct; pwritev() only reads.
      vectors[i] = {const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
    }
    std::span<iovec> left(vectors.data(), pieces.size());
    while (!left.empty()) {
      const ssize_t wrote = retry([&] {
        return ::pwritev(fd_.get(), left.data(), static_cast<int>(left.size()),
                         static_cast<off_t>(offset));
      });
      if (wrote < 0) {
        return path_error(errno, "write", path_);
      }
      offset += static_cast<std::uint64_t>(wrote);
      left = advance(left, static_cast<std::size_t>(wrote));
    }
    return {};
  }

  static std::span<iovec> advance(std::span<iovec> left, std::size_t bytes) {
    while (!left.empty() && bytes >= left.front().iov_len) {
      bytes -= left.front().iov_len;
      left = left.subspan(1);
    }
    if (!left.empty()) {
      left.front().iov_base = static_cast<std::byte*>(left.front().iov_base) + bytes;
      left.front().iov_len -= bytes;
    }
    return left;
  }

  std::string path_;
  UniqueFd fd_;
};

class PosixDirectoryLock final : public DirectoryLock {
 public:
  explicit PosixDirectoryLock(UniqueFd fd) : fd_(std::move(fd)) {}

 private:
  UniqueFd fd_;  // flock() belongs to the open file: it goes when this, the only one, is closed.
};

// Whether `path` still is the directory that `fd` is. Between open() and flock() another saver may
// have taken it for a dead one's and removed it.
bool is_same_directory(int fd, const std::string& path) {
  struct stat opened = {};
  struct stat named = {};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// nullptr if another process holds it or it is gone.
Result<std::unique_ptr<DirectoryLock>> lock_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.is_open()) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES) {
      return std::unique_ptr<DirectoryLock>();
    }
    return path_error(errno, "open directory", path);
  }
  if (retry([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK) {
      return std::unique_ptr<DirectoryLock>();
    }
    return path_error(errno, "lock directory", path);
  }
  if (!is_same_directory(fd.get(), path)) {
    return std::unique_ptr<DirectoryLock>();
  }
  return std::unique_ptr<DirectoryLock>(new PosixDirectoryLock(std::move(fd)));
}

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::optional<FileKind>> status(const std::string& path) override {
    struct stat facts = {};
    if (::stat(path.c_str(), &facts) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) {
        return std::optional<FileKind>();
      }
      return path_error(errno, "look at", path);
    }
    if (S_ISREG(facts.st_mode)) {
      return std::optional(FileKind::kFile);
    }
    return std::optional(S_ISDIR(facts.st_mode) ? FileKind::kDirectory : FileKind::kOther);
  }

  Result<std::unique_ptr<ReadableFile>> open_file(const std::string& path) override {
    // O_NONBLOCK: opening a FIFO that someone put there must not hang.
    UniqueFd fd(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
    struct stat facts = {};
    if (!fd.is_open() || ::fstat(fd.get(), &facts) != 0) {
      return path_error(errno, "open", path);
    }
    if (!S_ISREG(facts.st_mode)) {
      return Error{Errc::kCorruption, 0, "'" + path + "' is not a regular file"};
    }
    return std::unique_ptr<ReadableFile>(
        new PosixReadableFile(path, std::move(fd), static_cast<std::uint64_t>(facts.st_size)));
  }

  Result<std::unique_ptr<WritableFile>> create_file(const std::string& path) override {
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd fd(retry([&] { return ::open(path.c_str(), kFlags, 0666); }));
    if (!fd.is_open()) {
      return path_error(errno, "create", path);
    }
    return std::unique_ptr<WritableFile>(new PosixWritableFile(path, std::move(fd)));
  }

  Result<std::unique_ptr<DirectoryLock>> create_directory(const std::string& path) override {
    if (::mkdir(path.c_str(), 0777) != 0) {
      return path_error(errno, "create directory", path);
    }
    auto lock = lock_directory(path);
    if (lock && *lock == nullptr) {
      // Someone who cleans up was faster: the directory is theirs now.
      return path_error(EEXIST, "lock new directory", path);
    }
    return lock;
  }

  Result<std::unique_ptr<DirectoryLock>> try_lock_directory(const std::string& path) override {
    return lock_directory(path);
  }

  Result<std::vector<std::string>> list_directory(const std::string& path) override {
    DIR* const directory = ::opendir(path.c_str());
    if (directory == nullptr) {
      return path_error(errno, "list directory", path);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {  // NOLINT(concurrency-mt-unsafe): own DIR.
      const std::string_view name = &entry->d_name[0];
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
      errno = 0;
    }
    const int failure = errno;
    ::closedir(directory);
    if (failure != 0) {
      return path_error(failure, "list directory", path);
    }
    return names;
  }

  Result<void> remove_file(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? Result<void>() : path_error(errno, "remove", path);
  }
  Result<void> remove_directory(const std::string& path) override {
    return ::rmdir(path.c_str()) == 0 ? Result<void>()
                                      : path_error(errno, "remove directory", path);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
#ifdef __APPLE__
    const int outcome = ::renamex_np(from.c_str(), to.c_str(), RENAME_EXCL);
#else
    const int outcome = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
#endif
    return outcome == 0 ? Result<void>() : path_error(errno, "rename '" + from + "' to", to);
  }

  Result<void> exchange(const std::string& a, const std::string& b) override {
#ifdef __APPLE__
    const int outcome = ::renamex_np(a.c_str(), b.c_str(), RENAME_SWAP);
#else
    const int outcome = ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
#endif
    return outcome == 0 ? Result<void>() : path_error(errno, "exchange '" + a + "' with", b);
  }

  Result<void> sync_directory(const std::string& path) override {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.is_open()) {
      return path_error(errno, "open directory", path);
    }
    return sync_fd(fd.get(), path);
  }

  Result<std::string> canonical_path(const std::string& path) override {
    std::error_code failure;
    auto canonical = std::filesystem::canonical(path, failure);
    if (failure) {
      return path_error(failure.value(), "find", path);
    }
    return canonical.string();
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem file_system;
  return file_system;
}

}  // namespace stasis::snapshot
