// The file tree of the guest: the host's files on the allow-list, the tmpfs mounts and the
// synthetic files, seen as one; and the walk through it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "guests/linux/vfs/host_tree.h"
#include "guests/linux/vfs/mapping_registry.h"
#include "guests/linux/vfs/node.h"
#include "guests/linux/vfs/synthetic.h"
#include "guests/linux/vfs/tmpfs.h"

namespace stasis::linux_guest {

// Where a walk ended. Value.
struct Place {
  NodePointer node;    // Null: the last name does not exist in `folder`.
  NodePointer folder;  // Null: the path was the root, or ended in "." or "..".
  std::string name;
  bool must_be_directory = false;  // The path ended in a slash.
};

enum class LastLink : std::uint8_t { kFollow, kKeep };

struct VfsConfig {
  std::vector<std::string> allow_read;
  std::uint64_t tmpfs_bytes_max = 0;
  const Clock* clock = &host_clock();
};

// Resource: nodes point to it.
class Vfs {
 public:
  static Result<std::unique_ptr<Vfs>> create(const VfsConfig& config);
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;
  Vfs(Vfs&&) = delete;
  Vfs& operator=(Vfs&&) = delete;
  ~Vfs() = default;

  [[nodiscard]] NodePointer root();
  // `path` from `start` on (which an absolute path ignores). ENOENT if a folder on the way is
  // missing, ENOTDIR, ELOOP, ENAMETOOLONG.
  [[nodiscard]] SysOr<Place> walk(NodePointer start, std::string_view path, LastLink last);
  // Of an absolute path, following links; ENOENT.
  [[nodiscard]] SysOr<NodePointer> find(std::string_view path);
  // At a canonical path outside of the tmpfs mounts, or a mount's root; null if there is nothing.
  [[nodiscard]] NodePointer at(const std::string& path);

  void add(std::string path, SyntheticEntry entry);
  // Synthetic entries that come and go, below /proc and /dev: asked before the others.
  void set_dynamic(std::function<std::optional<SyntheticEntry>(const std::string& path)> lookup,
                   std::function<std::vector<std::string>(const std::string& path)> names) {
    dynamic_lookup_ = std::move(lookup);
    dynamic_names_ = std::move(names);
  }
  [[nodiscard]] const SyntheticTree& synthetic() const { return synthetic_; }
  [[nodiscard]] HostTree& host() { return *host_; }
  [[nodiscard]] MappingRegistry& mappings() { return mappings_; }
  [[nodiscard]] const std::shared_ptr<TmpfsSpace>& space() const { return space_; }
  [[nodiscard]] const std::vector<std::unique_ptr<TmpfsMount>>& mounts() const { return mounts_; }
  [[nodiscard]] NodePointer mount_root(const TmpfsMount& mount) const;
  // The names in a folder that is not the host's alone.
  [[nodiscard]] std::vector<DirectoryEntry> entries_of(const std::string& path);

 private:
  Vfs(std::unique_ptr<HostTree> host, const VfsConfig& config);
  void mount(const std::string& path, std::uint32_t mode);
  [[nodiscard]] NodePointer host_node(const std::string& path);
  [[nodiscard]] NodePointer synthetic_node(const std::string& path, const SyntheticEntry& entry);
  [[nodiscard]] NodePointer root_link(const std::string& path);
  [[nodiscard]] bool leads_somewhere(const std::string& path) const;

  std::unique_ptr<HostTree> host_;
  MappingRegistry mappings_;
  std::shared_ptr<TmpfsSpace> space_;
  std::vector<std::unique_ptr<TmpfsMount>> mounts_;
  SyntheticTree synthetic_;
  std::function<std::optional<SyntheticEntry>(const std::string&)> dynamic_lookup_;
  std::function<std::vector<std::string>(const std::string&)> dynamic_names_;
};

}  // namespace stasis::linux_guest
