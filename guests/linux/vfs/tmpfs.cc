#include "guests/linux/vfs/tmpfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "guests/linux/files/directory_file.h"

// Only in <linux/fs.h>, which collides with <sys/mount.h>'s users: renameat2(2).
namespace {
constexpr unsigned kNoReplace = 1;
constexpr unsigned kExchange = 2;
constexpr std::size_t kNameBytesMax = 255;
}  // namespace

namespace stasis::linux_guest {
namespace {

std::string path_of(const TmpfsMount& mount, const TmpfsInode& folder) {
  std::string path;
  const TmpfsInode* at = &folder;
  std::shared_ptr<TmpfsInode> held;
  for (int depth = 0; at != mount.root.get() && depth < 4096; ++depth) {
    path.insert(0, "/" + at->name);
    held = at->parent.lock();
    if (held == nullptr) {
      break;  // Removed.
    }
    at = held.get();
  }
  return mount.path + path;
}

bool is_inside(const InodePointer& inode, const InodePointer& folder) {
  for (InodePointer at = inode; at != nullptr; at = at->parent.lock()) {
    if (at == folder) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string TmpfsNode::path() const {
  if (inode_->is_directory()) {
    return path_of(*mount_, *inode_);
  }
  return (folder_ == nullptr ? mount_->path : path_of(*mount_, *folder_)) + "/" + name_;
}

SysOr<std::shared_ptr<File>> TmpfsNode::open(int flags) {
  const auto self = std::make_shared<TmpfsNode>(*mount_, inode_, folder_, name_);
  if (inode_->is_directory()) {
    return std::shared_ptr<File>(std::make_shared<DirectoryFile>(flags, self));
  }
  return std::shared_ptr<File>(std::make_shared<TmpfsFile>(flags, self));
}

SysOr<NodePointer> TmpfsNode::lookup(std::string_view name) {
  if (!inode_->is_directory()) {
    return Errno{ENOTDIR};
  }
  if (mount_->overlay) {
    if (NodePointer over = mount_->overlay(path() + "/" + std::string(name))) {
      return over;
    }
  }
  const std::string key(name);
  InodePointer found = inode_->entry(key);
  if (found == nullptr) {
    return Errno{ENOENT};
  }
  return NodePointer(std::make_shared<TmpfsNode>(*mount_, std::move(found), inode_, key));
}

NodePointer TmpfsNode::parent() {
  if (inode_ == mount_->root) {
    return mount_->parent ? mount_->parent() : nullptr;
  }
  InodePointer up = inode_->is_directory() ? inode_->parent.lock() : folder_;
  if (up == nullptr) {
    up = mount_->root;
  }
  return std::make_shared<TmpfsNode>(*mount_, std::move(up), nullptr, std::string());
}

SysOr<std::vector<DirectoryEntry>> TmpfsNode::list() {
  if (!inode_->is_directory()) {
    return Errno{ENOTDIR};
  }
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, inode] : inode_->entries()) {
    entries.push_back({name, inode->number, entry_type_of(inode->mode)});
  }
  return entries;
}

SysOr<InodePointer> TmpfsNode::add(std::string_view name, std::uint32_t mode) {
  const std::string key(name);
  if (name.size() > kNameBytesMax) {
    return Errno{ENAMETOOLONG};
  }
  if (inode_->links == 0 && inode_ != mount_->root) {
    return Errno{ENOENT};  // The folder has been removed.
  }
  if (inode_->entry(key) != nullptr) {
    return Errno{EEXIST};
  }
  InodePointer made = TmpfsInode::make(inode_->space(), mode);
  if (made == nullptr || !inode_->add_entry(key, made)) {
    return Errno{ENOSPC};
  }
  return made;
}

SysOr<NodePointer> TmpfsNode::create_file(std::string_view name, std::uint32_t mode) {
  SysOr<InodePointer> made = add(name, S_IFREG | (mode & 07777U));
  if (!made.ok()) {
    return made.code();
  }
  return NodePointer(
      std::make_shared<TmpfsNode>(*mount_, std::move(*made), inode_, std::string(name)));
}

SysOr<NodePointer> TmpfsNode::create_unnamed(std::uint32_t mode) {
  InodePointer made = TmpfsInode::make(inode_->space(), S_IFREG | (mode & 07777U));
  if (made == nullptr) {
    return Errno{ENOSPC};
  }
  std::string name = "#" + std::to_string(made->number);
  return NodePointer(
      std::make_shared<TmpfsNode>(*mount_, std::move(made), inode_, std::move(name)));
}

SysResult TmpfsNode::create_directory(std::string_view name, std::uint32_t mode) {
  SysOr<InodePointer> made = add(name, S_IFDIR | (mode & 07777U));
  if (made.ok()) {
    (*made)->parent = inode_;
    (*made)->name = std::string(name);
  }
  return made.error();
}

SysResult TmpfsNode::create_link(std::string_view name, std::string_view target) {
  SysOr<InodePointer> made = add(name, S_IFLNK | 0777U);
  if (made.ok()) {
    (*made)->target = std::string(target);
  }
  return made.error();
}

SysResult TmpfsNode::link(std::string_view name, const NodePointer& existing) {
  const auto other = std::dynamic_pointer_cast<TmpfsNode>(existing);
  if (other == nullptr || other->mount_ != mount_) {
    return -EXDEV;
  }
  if (other->inode_->is_directory()) {
    return -EPERM;
  }
  const std::string key(name);
  if (inode_->entry(key) != nullptr) {
    return -EEXIST;
  }
  return inode_->add_entry(key, other->inode_) ? 0 : -ENOSPC;
}

SysResult TmpfsNode::unlink(std::string_view name) {
  const std::string key(name);
  const InodePointer found = inode_->entry(key);
  if (found == nullptr) {
    return -ENOENT;
  }
  if (found->is_directory()) {
    return -EISDIR;
  }
  inode_->remove_entry(key);
  return 0;
}

SysResult TmpfsNode::remove_directory(std::string_view name) {
  const std::string key(name);
  const InodePointer found = inode_->entry(key);
  if (found == nullptr) {
    return -ENOENT;
  }
  if (!found->is_directory()) {
    return -ENOTDIR;
  }
  if (!found->entries().empty()) {
    return -ENOTEMPTY;
  }
  inode_->remove_entry(key);
  return 0;
}

// Whether `moved` may take the name of `replaced` (null: nothing has it) in the folder `target`: 0.
SysResult TmpfsNode::check_rename(const InodePointer& moved, const InodePointer& target,
                                  const InodePointer& replaced) const {
  if (moved->is_directory() && is_inside(target, moved)) {
    return -EINVAL;
  }
  if (target->links == 0 && target != mount_->root) {
    return -ENOENT;
  }
  if (replaced == nullptr) {
    return 0;
  }
  if (moved->is_directory() != replaced->is_directory()) {
    return replaced->is_directory() ? -EISDIR : -ENOTDIR;
  }
  return replaced->is_directory() && !replaced->entries().empty() ? -ENOTEMPTY : 0;
}

SysResult TmpfsNode::rename(std::string_view from, const NodePointer& to, std::string_view name,
                            unsigned flags) {
  const auto target = std::dynamic_pointer_cast<TmpfsNode>(to);
  if (target == nullptr || target->mount_ != mount_) {
    return -EXDEV;
  }
  if ((flags & ~kNoReplace) != 0 || name.size() > kNameBytesMax) {
    return (flags & kExchange) != 0      ? -EINVAL
           : name.size() > kNameBytesMax ? -ENAMETOOLONG
                                         : -EINVAL;
  }
  const std::string old_name(from);
  const std::string new_name(name);
  const InodePointer moved = inode_->entry(old_name);
  const InodePointer replaced = target->inode_->entry(new_name);
  if (moved == nullptr) {
    return -ENOENT;
  }
  if (replaced != nullptr && (flags & kNoReplace) != 0) {
    return -EEXIST;
  }
  if (moved == replaced) {
    return 0;  // rename(2): two names of one file stay as they are.
  }
  if (const SysResult wrong = check_rename(moved, target->inode_, replaced); wrong != 0) {
    return wrong;
  }
  if (replaced != nullptr) {
    target->inode_->remove_entry(new_name);
  }
  inode_->remove_entry(old_name);
  // Cannot fail: the old name has just given its space back.
  static_cast<void>(target->inode_->add_entry(new_name, moved));
  if (moved->is_directory()) {
    moved->parent = target->inode_;
    moved->name = new_name;
  }
  return 0;
}

SysResult TmpfsNode::truncate(std::uint64_t size_bytes) {
  return inode_->is_directory() ? -EISDIR : inode_->truncate(size_bytes);
}

SysResult TmpfsNode::change(const NodeChange& change) {
  if (change.mode) {
    inode_->mode = (inode_->mode & S_IFMT) | (*change.mode & 07777U);
  }
  inode_->user = change.user.value_or(inode_->user);
  inode_->group = change.group.value_or(inode_->group);
  inode_->accessed_ns = change.accessed_ns.value_or(inode_->accessed_ns);
  inode_->modified_ns = change.modified_ns.value_or(inode_->modified_ns);
  inode_->changed_ns = inode_->space()->now_ns();
  return 0;
}

}  // namespace stasis::linux_guest
