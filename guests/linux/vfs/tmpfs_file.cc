#include <errno.h>

#include <algorithm>

#include "guests/linux/vfs/tmpfs.h"

namespace stasis::linux_guest {

SysResult TmpfsFile::read(std::uint64_t offset, std::span<std::byte> out) {
  return node_->inode()->read(offset, out);
}
SysResult TmpfsFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  return node_->inode()->write(offset, bytes);
}
SysResult TmpfsFile::truncate(std::uint64_t size_bytes) {
  return node_->inode()->truncate(size_bytes);
}

SysResult TmpfsFile::bytes_ready() const {
  const std::uint64_t size = node_->inode()->size_bytes();
  return size <= offset()
             ? 0
             : static_cast<SysResult>(std::min<std::uint64_t>(size - offset(), 0x7fffffff));
}

SysOr<std::shared_ptr<const MappedFile>> TmpfsFile::mapping() {
  MappingRegistry& registry = *node_->mount().mappings;
  for (const auto& file : registry.in_use()) {
    const auto* const mapping = dynamic_cast<const TmpfsMapping*>(file.get());
    if (mapping != nullptr && mapping->inode() == node_->inode()) {
      return file;
    }
  }
  auto made = std::make_shared<const TmpfsMapping>(node_->inode(), path(), registry.next_id());
  registry.add(made);
  return std::shared_ptr<const MappedFile>(std::move(made));
}

std::string TmpfsFile::path() const {
  return node_->path() + (node_->inode()->links == 0 ? " (deleted)" : "");
}

}  // namespace stasis::linux_guest
