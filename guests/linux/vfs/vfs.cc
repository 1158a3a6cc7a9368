#include "guests/linux/vfs/vfs.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>

#include "guests/linux/vfs/tree_nodes.h"

namespace stasis::linux_guest {
Result<std::unique_ptr<Vfs>> Vfs::create(const VfsConfig& config) {
  STASIS_ASSIGN(auto host, HostTree::open(config.allow_read));
  return std::unique_ptr<Vfs>(new Vfs(std::move(host), config));
}

Vfs::Vfs(std::unique_ptr<HostTree> host, const VfsConfig& config)
    : host_(std::move(host)),
      space_(std::make_shared<TmpfsSpace>(config.tmpfs_bytes_max, *config.clock)) {
  mount("/tmp", S_IFDIR | 01777U);
  mount("/dev/shm", S_IFDIR | 01777U);
  mount("/run", S_IFDIR | 0755U);
}

void Vfs::mount(const std::string& path, std::uint32_t mode) {
  auto made = std::make_unique<TmpfsMount>();
  made->path = path;
  made->root = TmpfsInode::make(space_, mode);
  if (made->root == nullptr) {
    return;  // A limit too small for even one folder: no tmpfs.
  }
  made->mappings = &mappings_;
  made->overlay = [this, path](const std::string& below) -> NodePointer {
    if (host_->covers_within(below, path)) {
      return host_node(below);
    }
    return host_->leads_to(below) ? std::make_shared<LeadingNode>(*this, below) : nullptr;
  };
  made->parent = [this, path] { return at(parent_path(path)); };
  mounts_.push_back(std::move(made));
}

NodePointer Vfs::mount_root(const TmpfsMount& mount) const {
  return std::make_shared<TmpfsNode>(mount, mount.root, nullptr, std::string());
}

NodePointer Vfs::root() {
  return at("/");
}

void Vfs::add(std::string path, SyntheticEntry entry) {
  synthetic_.insert_or_assign(std::move(path), std::move(entry));
}

NodePointer Vfs::host_node(const std::string& path) {
  SysOr<FileStat> stat = host_->stat(path);
  if (!stat.ok()) {
    return nullptr;
  }
  std::string target;
  if (S_ISLNK(stat->mode)) {
    SysOr<std::string> read = host_->read_link(path);
    if (!read.ok()) {
      return nullptr;
    }
    target = *read;
  }
  return std::make_shared<HostNode>(*this, path, *stat, std::move(target));
}

// /bin, /lib64 and the like of a merged /usr: links in the root folder are there if what they name
// is, so that --allow-read /usr is enough for a program to find its interpreter.
NodePointer Vfs::root_link(const std::string& path) {
  if (path.rfind('/') != 0 || path.size() == 1) {
    return nullptr;
  }
  std::array<char, 256> buffer{};
  const auto size = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (size <= 0 || static_cast<std::size_t>(size) == buffer.size()) {
    return nullptr;
  }
  const std::string target(buffer.data(), static_cast<std::size_t>(size));
  const std::string absolute = target.starts_with('/') ? target : "/" + target;
  if (absolute.find("..") != std::string::npos || !host_->covers(absolute)) {
    return nullptr;
  }
  FileStat stat;
  stat.inode = inode_of_path(path);
  stat.mode = S_IFLNK | 0777U;
  stat.size_bytes = target.size();
  return std::make_shared<HostNode>(*this, path, stat, target);
}

NodePointer Vfs::synthetic_node(const std::string& path, const SyntheticEntry& entry) {
  if (S_ISDIR(entry.mode)) {
    return std::make_shared<LeadingNode>(*this, path);
  }
  return std::make_shared<SyntheticNode>(*this, path, entry);
}

bool Vfs::leads_somewhere(const std::string& path) const {
  const auto below = [&](std::string_view other) { return other != path && is_below(other, path); };
  // The map is ordered, but "/a-b" lies between "/a" and "/a/b": look at all of the prefix.
  for (auto at = synthetic_.lower_bound(path);
       at != synthetic_.end() && at->first.starts_with(path); ++at) {
    if (below(at->first)) {
      return true;
    }
  }
  return host_->leads_to(path) ||
         std::ranges::any_of(mounts_, [&](const auto& mount) { return below(mount->path); });
}

NodePointer Vfs::at(const std::string& path) {
  const bool on_host = host_->covers(path);
  const bool is_own = is_below(path, "/dev") || is_below(path, "/proc") || is_below(path, "/sys");
  if (is_own && dynamic_lookup_) {
    if (const auto entry = dynamic_lookup_(path)) {
      return synthetic_node(path, *entry);
    }
  }
  const auto own = synthetic_.find(path);
  if (own != synthetic_.end() && !(on_host && own->second.yields_to_host)) {
    return synthetic_node(path, own->second);
  }
  for (const auto& mount : mounts_) {
    if (mount->path == path) {
      return mount_root(*mount);
    }
  }
  if (on_host && !is_own) {
    if (NodePointer node = host_node(path)) {
      return node;
    }
  }
  if (path == "/" || leads_somewhere(path)) {
    return std::make_shared<LeadingNode>(*this, path);
  }
  return is_own ? nullptr : root_link(path);
}

std::vector<DirectoryEntry> Vfs::entries_of(const std::string& path) {
  std::set<std::string> names;
  const std::size_t skipped = path == "/" ? 1 : path.size() + 1;
  const auto add_name = [&](std::string_view below) {
    if (below != path && is_below(below, path)) {
      const std::string_view rest = below.substr(skipped);
      names.emplace(rest.substr(0, rest.find('/')));
    }
  };
  for (const auto& [own, entry] : synthetic_) {
    add_name(own);
  }
  for (const auto& mount : mounts_) {
    add_name(mount->path);
  }
  for (const std::string& name : host_->names_below(path)) {
    names.insert(name);
  }
  if (dynamic_names_) {
    for (std::string& name : dynamic_names_(path)) {
      names.insert(std::move(name));
    }
  }
  if (path == "/") {
    for (const char* const name : {"bin", "lib", "lib32", "lib64", "libx32", "sbin"}) {
      names.insert(name);
    }
  }
  std::vector<DirectoryEntry> entries;
  for (const std::string& name : names) {
    if (const NodePointer node = at(child_path(path, name))) {
      const FileStat stat = node->stat();
      entries.push_back({name, stat.inode, entry_type_of(stat.mode)});
    }
  }
  return entries;
}

SysOr<NodePointer> Vfs::find(std::string_view path) {
  SysOr<Place> place = walk(root(), path, LastLink::kFollow);
  if (!place.ok()) {
    return place.code();
  }
  return place->node == nullptr ? SysOr<NodePointer>(Errno{ENOENT})
                                : SysOr<NodePointer>(place->node);
}

}  // namespace stasis::linux_guest
