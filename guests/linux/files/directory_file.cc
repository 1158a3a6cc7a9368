#include "guests/linux/files/directory_file.h"

#include <dirent.h>
#include <errno.h>

namespace stasis::linux_guest {

SysResult DirectoryFile::read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) {
  return -EISDIR;
}

SysOr<const std::vector<DirectoryEntry>*> DirectoryFile::entries() {
  if (offset() == 0 || !is_listed_) {
    SysOr<std::vector<DirectoryEntry>> listed = node_->list();
    if (!listed.ok()) {
      return listed.code();
    }
    entries_.clear();
    const NodePointer up = node_->parent();
    entries_.push_back({".", node_->stat().inode, DT_DIR});
    entries_.push_back({"..", up == nullptr ? 1 : up->stat().inode, DT_DIR});
    entries_.insert(entries_.end(), std::make_move_iterator(listed->begin()),
                    std::make_move_iterator(listed->end()));
    is_listed_ = true;
  }
  return static_cast<const std::vector<DirectoryEntry>*>(&entries_);
}

}  // namespace stasis::linux_guest
