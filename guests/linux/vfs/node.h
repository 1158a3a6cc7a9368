// A place in the file tree of the guest: folder, file, link or device, wherever its content is
// from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guests/linux/files/file.h"
#include "guests/linux/kernel/sys_or.h"

namespace stasis::linux_guest {

class Node;
using NodePointer = std::shared_ptr<Node>;  // Shared: open files, the walk and the tree hold it.

// New metadata; what is unset stays. Value.
struct NodeChange {
  std::optional<std::uint32_t> mode;  // Permission bits.
  std::optional<std::uint32_t> user, group;
  std::optional<std::int64_t> accessed_ns, modified_ns;
};

// The operations that change something answer EROFS unless a kind of node can do better. Names are
// single components, never empty, "." or "..".
class Node {
 public:
  Node() = default;
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] virtual FileStat stat() const = 0;
  [[nodiscard]] virtual std::string path() const = 0;  // Absolute, without links.
  [[nodiscard]] virtual SysOr<std::shared_ptr<File>> open(int flags) = 0;

  // Symbolic links.
  [[nodiscard]] virtual std::string link_target() const { return {}; }
  // What a link of /proc leads to if it is not a path: followed instead of the target.
  [[nodiscard]] virtual std::shared_ptr<File> linked_file() const { return nullptr; }

  // Folders.
  [[nodiscard]] virtual SysOr<NodePointer> lookup(std::string_view name);  // ENOENT, ENOTDIR
  [[nodiscard]] virtual NodePointer parent() = 0;
  [[nodiscard]] virtual SysOr<std::vector<DirectoryEntry>> list();
  [[nodiscard]] virtual SysOr<NodePointer> create_file(std::string_view name, std::uint32_t mode);
  [[nodiscard]] virtual SysResult create_directory(std::string_view name, std::uint32_t mode);
  [[nodiscard]] virtual SysResult create_link(std::string_view name, std::string_view target);
  [[nodiscard]] virtual SysResult link(std::string_view name, const NodePointer& existing);
  [[nodiscard]] virtual SysResult unlink(std::string_view name);
  [[nodiscard]] virtual SysResult remove_directory(std::string_view name);
  // To `name` in `to`, with the flags of renameat2(2).
  [[nodiscard]] virtual SysResult rename(std::string_view from, const NodePointer& to,
                                         std::string_view name, unsigned flags);
  [[nodiscard]] virtual bool is_writable() const { return false; }

  [[nodiscard]] virtual SysResult truncate(std::uint64_t size_bytes);
  [[nodiscard]] virtual SysResult change(const NodeChange& change);

  [[nodiscard]] bool is_directory() const;
  [[nodiscard]] bool is_link() const;
};

[[nodiscard]] std::uint8_t entry_type_of(std::uint32_t mode);  // S_IFREG -> DT_REG

}  // namespace stasis::linux_guest
