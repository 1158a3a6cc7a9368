// The file system as snapshots use it: the seam at which tests record every operation, drop what
// was not synced, and let the disk run full. posix_file_system() is the real one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace stasis::snapshot {

// One stored file, open for reading. Immutable, thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  [[nodiscard]] virtual const std::string& path() const = 0;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;  // When it was opened.
  // Fills `out` wholly. kCorruption if the file ends earlier, kIo if the host cannot read it.
  virtual Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  // For mmap and sendfile; -1 where there is none (files in the memory of a test).
  [[nodiscard]] virtual int fd() const = 0;
};

// One file being written. Not visible to readers as part of a snapshot until its directory is
// published. Destruction closes it without an error report.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // Writes the pieces one behind the other, all or an error. Thread-safe for disjoint places.
  virtual Result<void> write_at(std::uint64_t offset,
                                std::span<const std::span<const std::byte>> pieces) = 0;
  // Cuts, or extends by a hole that reads as zeros.
  virtual Result<void> set_size(std::uint64_t bytes) = 0;
  // A hint to begin writing to the disk what was written to this place; may do nothing.
  virtual void start_writeback(std::uint64_t offset, std::uint64_t bytes) = 0;
  // Everything written is on stable storage when this returns success.
  virtual Result<void> sync() = 0;
  // Reports what write-back on close reports (NFS, quotas).
  virtual Result<void> close() = 0;
};

// Says that the owner of a directory lives; given up by destruction or by death of the process.
class DirectoryLock {
 public:
  virtual ~DirectoryLock() = default;
};

enum class FileKind : std::uint8_t { kFile, kDirectory, kOther };

// Paths are relative to the working directory or absolute. No operation follows a symbolic link as
// the last component of a path, except open_file() and status() of a directory that is named by the
// user. All errors name the path. Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Nothing if there is no such file. Follows symbolic links.
  virtual Result<std::optional<FileKind>> status(const std::string& path) = 0;
  // kNotFound if there is none; kCorruption if it is not a regular file.
  virtual Result<std::unique_ptr<ReadableFile>> open_file(const std::string& path) = 0;
  // kAlreadyExists if there is one.
  virtual Result<std::unique_ptr<WritableFile>> create_file(const std::string& path) = 0;
  // Creates a directory and locks it before anyone else can. kAlreadyExists if there is one.
  virtual Result<std::unique_ptr<DirectoryLock>> create_directory(const std::string& path) = 0;
  // nullptr if its owner lives, or if there is no such directory (any more).
  virtual Result<std::unique_ptr<DirectoryLock>> try_lock_directory(const std::string& path) = 0;
  // Names without path, in no order.
  virtual Result<std::vector<std::string>> list_directory(const std::string& path) = 0;
  virtual Result<void> remove_file(const std::string& path) = 0;
  virtual Result<void> remove_directory(const std::string& path) = 0;  // Must be empty.
  // Atomic. kAlreadyExists if `to` exists.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  // Atomic: both exist before and afterwards.
  virtual Result<void> exchange(const std::string& a, const std::string& b) = 0;
  // Creations, removals and renames in this directory are on stable storage afterwards.
  virtual Result<void> sync_directory(const std::string& path) = 0;
  // Absolute and without symbolic links. kNotFound if there is no such file.
  virtual Result<std::string> canonical_path(const std::string& path) = 0;
};

// The host's. Stateless, lives for ever.
FileSystem& posix_file_system();

// "a/b" from "a" and "b".
std::string join_path(std::string_view directory, std::string_view name);
// The directory that holds `path`, and its name in it: ("/x/y", "z") for "/x/y/z/", (".", "z") for
// "z". The name is empty for "/", "." and paths that end in "..".
struct SplitPath {
  std::string parent, name;
};
SplitPath split_path(std::string_view path);

}  // namespace stasis::snapshot
