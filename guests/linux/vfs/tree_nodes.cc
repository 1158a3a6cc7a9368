#include "guests/linux/vfs/tree_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "guests/linux/files/directory_file.h"
#include "guests/linux/files/text_file.h"
#include "guests/linux/vfs/vfs.h"

namespace stasis::linux_guest {

std::string parent_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string child_path(const std::string& folder, std::string_view name) {
  return (folder == "/" ? "/" : folder + "/") + std::string(name);
}

std::uint64_t inode_of_path(std::string_view path) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char letter : path) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  }
  return (hash & 0xffff'ffff) | 1U;
}

SysOr<std::shared_ptr<File>> HostNode::open(int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY) {
    return Errno{EROFS};
  }
  const auto self = std::make_shared<HostNode>(*vfs_, path_, stat_, target_);
  if (S_ISDIR(stat_.mode)) {
    return std::shared_ptr<File>(std::make_shared<DirectoryFile>(flags, self));
  }
  if ((stat_.mode & 0444U) == 0) {
    return Errno{EACCES};
  }
  auto opened = vfs_->host().open_file(path_);
  if (!opened.ok()) {
    return opened.code();
  }
  return std::shared_ptr<File>(
      std::make_shared<HostFile>(flags, path_, std::move(*opened), self, vfs_->mappings()));
}

SysOr<NodePointer> HostNode::lookup(std::string_view name) {
  if (!S_ISDIR(stat_.mode)) {
    return Errno{ENOTDIR};
  }
  NodePointer found = vfs_->at(child_path(path_, name));
  return found == nullptr ? SysOr<NodePointer>(Errno{ENOENT})
                          : SysOr<NodePointer>(std::move(found));
}

NodePointer HostNode::parent() {
  return vfs_->at(parent_path(path_));
}

SysOr<std::vector<DirectoryEntry>> HostNode::list() {
  auto entries = vfs_->host().list(path_);
  if (!entries.ok()) {
    return entries;
  }
  // What is laid over the host's folder: in place of the host's own entry of that name.
  std::set<std::string> names;
  for (const DirectoryEntry& entry : *entries) {
    names.insert(entry.name);
  }
  for (DirectoryEntry& entry : vfs_->entries_of(path_)) {
    if (!names.contains(entry.name)) {
      entries->push_back(std::move(entry));
    }
  }
  return entries;
}

FileStat LeadingNode::stat() const {
  FileStat stat;
  stat.inode = inode_of_path(path_);
  stat.mode = S_IFDIR | 0755U;
  stat.links = 2;
  return stat;
}

SysOr<std::shared_ptr<File>> LeadingNode::open(int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY) {
    return Errno{EISDIR};
  }
  return std::shared_ptr<File>(
      std::make_shared<DirectoryFile>(flags, std::make_shared<LeadingNode>(*vfs_, path_)));
}

SysOr<NodePointer> LeadingNode::lookup(std::string_view name) {
  NodePointer found = vfs_->at(child_path(path_, name));
  return found == nullptr ? SysOr<NodePointer>(Errno{ENOENT})
                          : SysOr<NodePointer>(std::move(found));
}

NodePointer LeadingNode::parent() {
  return vfs_->at(parent_path(path_));
}

SysOr<std::vector<DirectoryEntry>> LeadingNode::list() {
  return vfs_->entries_of(path_);
}

FileStat SyntheticNode::stat() const {
  FileStat stat;
  stat.device = 2;
  stat.inode = inode_of_path(path_);
  stat.mode = entry_.mode;
  stat.special_device = entry_.special_device;
  // As on procfs: a regular file there has no size.
  stat.size_bytes = S_ISLNK(entry_.mode) ? link_target().size() : 0;
  return stat;
}

SysOr<std::shared_ptr<File>> SyntheticNode::open(int flags) {
  if (entry_.open) {
    std::shared_ptr<File> file = entry_.open(flags);
    return file == nullptr ? SysOr<std::shared_ptr<File>>(Errno{ENXIO})
                           : SysOr<std::shared_ptr<File>>(std::move(file));
  }
  if ((flags & O_ACCMODE) != O_RDONLY) {
    return Errno{EACCES};
  }
  std::string content = entry_.text ? entry_.text() : std::string();
  return std::shared_ptr<File>(
      std::make_shared<TextFile>(flags, path_, std::move(content), stat()));
}

std::string SyntheticNode::link_target() const {
  return S_ISLNK(entry_.mode) && entry_.text ? entry_.text() : std::string();
}

std::shared_ptr<File> SyntheticNode::linked_file() const {
  return S_ISLNK(entry_.mode) && entry_.open ? entry_.open(0) : nullptr;
}

NodePointer SyntheticNode::parent() {
  return vfs_->at(parent_path(path_));
}

}  // namespace stasis::linux_guest
