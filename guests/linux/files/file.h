// An open file description: what descriptors point to, with its offset and status flags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "guests/linux/address_space.h"
#include "guests/linux/kernel/guest_clock.h"
#include "guests/linux/kernel/sys_or.h"

namespace stasis::linux_guest {

class Node;

// What stat(2) and statx(2) tell. Value.
struct FileStat {
  std::uint64_t device = 1;
  std::uint64_t inode = 0;
  std::uint32_t mode = 0;
  std::uint64_t links = 1;
  std::uint32_t user = 0, group = 0;
  std::uint64_t special_device = 0;  // st_rdev
  std::uint64_t size_bytes = 0;
  std::uint64_t blocks = 0;  // Of 512 bytes.
  std::int64_t accessed_ns = 0, modified_ns = 0, changed_ns = 0;
};

// One name of a folder. Value.
struct DirectoryEntry {
  std::string name;
  std::uint64_t inode = 1;
  std::uint8_t type = 0;  // DT_REG and so on.
};

enum class FileKind : std::uint8_t {
  kHost,
  kDirectory,
  kTmpfs,
  kText,
  kDevice,
  kConsole,
  kPipe,
  kSocket,
  kEvent,
  kTimer,
  kEpoll,
  kStasis
};

// Resource, shared by the descriptors that are copies of each other. Thread-compatible.
class File {
 public:
  File(FileKind kind, int flags, std::string path)
      : flags_(flags), path_(std::move(path)), kind_(kind) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Bytes transferred or -errno. -EAGAIN: it would block. `offset` matters if is_seekable().
  virtual SysResult read(std::uint64_t offset, std::span<std::byte> out);
  virtual SysResult write(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] virtual bool is_seekable() const { return false; }
  [[nodiscard]] virtual FileStat stat() const = 0;
  [[nodiscard]] virtual std::uint32_t poll() const;  // POLLIN, POLLOUT, POLLHUP, ...
  // Grows whenever poll() may have become more: what an edge-triggered epoll goes by.
  [[nodiscard]] virtual std::uint64_t activity() const { return 0; }
  virtual SysResult truncate(std::uint64_t size_bytes);
  // What FIONREAD tells, or -ENOTTY.
  [[nodiscard]] virtual SysResult bytes_ready() const;
  // For mmap: ENODEV where there is none.
  [[nodiscard]] virtual SysOr<std::shared_ptr<const MappedFile>> mapping();
  // The folder, for openat and its like; null if it is none.
  [[nodiscard]] virtual std::shared_ptr<Node> directory() const { return nullptr; }
  [[nodiscard]] virtual std::shared_ptr<Node> node() const { return directory(); }
  // When poll() will change by itself.
  [[nodiscard]] virtual std::optional<Deadline> deadline() const { return std::nullopt; }
  // As /proc/self/fd shows it.
  [[nodiscard]] virtual std::string path() const { return path_; }
  [[nodiscard]] FileKind kind() const { return kind_; }

  [[nodiscard]] bool can_read() const;
  [[nodiscard]] bool can_write() const;
  [[nodiscard]] bool is_nonblocking() const;
  [[nodiscard]] int flags() const { return flags_; }
  void set_flags(int flags) { flags_ = flags; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  void set_offset(std::uint64_t offset) { offset_ = offset; }

 private:
  int flags_;  // O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, ...
  std::uint64_t offset_ = 0;
  std::string path_;
  FileKind kind_;
};

}  // namespace stasis::linux_guest
