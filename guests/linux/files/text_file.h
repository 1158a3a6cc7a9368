// A file whose content was made when it was opened.
#pragma once

#include <string>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

class TextFile final : public File {
 public:
  TextFile(int flags, std::string path, std::string content, FileStat stat)
      : File(FileKind::kText, flags, std::move(path)), content_(std::move(content)), stat_(stat) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool is_seekable() const override { return true; }
  [[nodiscard]] FileStat stat() const override { return stat_; }
  [[nodiscard]] const std::string& content() const { return content_; }

 private:
  std::string content_;
  FileStat stat_;
};

}  // namespace stasis::linux_guest
