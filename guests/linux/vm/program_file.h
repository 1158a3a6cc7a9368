// An executable or its ELF interpreter, as the guest's loader maps it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"
#include "core/unique_fd.h"
#include "guests/linux/address_space.h"

namespace stasis::linux_guest::vm {

// Tells one content of a file from another without reading it. Value.
struct FileStamp {
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// A regular file of the host, open for reading. Immutable, shareable.
class ProgramFile final : public MappedFile {
 public:
  // kNotFound, kIo; kInvalidArgument if it is not a regular file. Symbolic links are followed.
  static Result<std::shared_ptr<const ProgramFile>> open(const std::string& path,
                                                         std::uint64_t snapshot_id);

  [[nodiscard]] std::string path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return stamp_.size_bytes; }
  [[nodiscard]] SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] std::uint64_t snapshot_id() const override { return snapshot_id_; }
  [[nodiscard]] const FileStamp& stamp() const { return stamp_; }

 private:
  ProgramFile(UniqueFd fd, std::string path, FileStamp stamp, std::uint64_t snapshot_id)
      : fd_(std::move(fd)), path_(std::move(path)), stamp_(stamp), snapshot_id_(snapshot_id) {}

  UniqueFd fd_;
  std::string path_;
  FileStamp stamp_;
  std::uint64_t snapshot_id_;
};

// The two that the loader maps; above every id that a Kernel gives out.
inline constexpr std::uint64_t kExecutableFileId = UINT64_MAX - 1;
inline constexpr std::uint64_t kInterpreterFileId = UINT64_MAX - 2;

}  // namespace stasis::linux_guest::vm
