// An open folder.
#pragma once

#include <memory>
#include <vector>

#include "guests/linux/files/file.h"
#include "guests/linux/vfs/node.h"

namespace stasis::linux_guest {

class DirectoryFile final : public File {
 public:
  DirectoryFile(int flags, NodePointer node)
      : File(FileKind::kDirectory, flags, {}), node_(std::move(node)) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] bool is_seekable() const override { return true; }
  [[nodiscard]] FileStat stat() const override { return node_->stat(); }
  [[nodiscard]] std::shared_ptr<Node> directory() const override { return node_; }
  [[nodiscard]] std::string path() const override { return node_->path(); }
  // With "." and "..": listed when the offset is 0, so that one pass sees each name once, whatever
  // is removed meanwhile.
  [[nodiscard]] SysOr<const std::vector<DirectoryEntry>*> entries();
  // For a load, which must show the same order.
  void set_entries(std::vector<DirectoryEntry> entries) {
    entries_ = std::move(entries);
    is_listed_ = true;
  }
  [[nodiscard]] const std::vector<DirectoryEntry>& listed() const { return entries_; }

 private:
  NodePointer node_;
  std::vector<DirectoryEntry> entries_;
  bool is_listed_ = false;
};

}  // namespace stasis::linux_guest
