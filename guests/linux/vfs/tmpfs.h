// The tree and the open files of the file system that lives in the VM.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "guests/linux/vfs/mapping_registry.h"
#include "guests/linux/vfs/node.h"
#include "guests/linux/vfs/tmpfs_inode.h"

namespace stasis::linux_guest {

// One mounted tmpfs. Resource: its nodes point to it.
struct TmpfsMount {
  std::string path;  // "/tmp"
  InodePointer root;
  MappingRegistry* mappings = nullptr;
  // What lies over the tmpfs at a path (an entry of the allow-list), or null.
  std::function<NodePointer(const std::string& path)> overlay = {};
  std::function<NodePointer()> parent = {};  // Of the root.
};

class TmpfsNode final : public Node {
 public:
  // `folder` and `name`: how it was reached; null and "" for the root and for unnamed files.
  TmpfsNode(const TmpfsMount& mount, InodePointer inode, InodePointer folder, std::string name)
      : mount_(&mount),
        inode_(std::move(inode)),
        folder_(std::move(folder)),
        name_(std::move(name)) {}
  [[nodiscard]] FileStat stat() const override { return inode_->stat(); }
  [[nodiscard]] std::string path() const override;
  [[nodiscard]] SysOr<std::shared_ptr<File>> open(int flags) override;
  [[nodiscard]] std::string link_target() const override { return inode_->target; }
  [[nodiscard]] SysOr<NodePointer> lookup(std::string_view name) override;
  [[nodiscard]] NodePointer parent() override;
  [[nodiscard]] SysOr<std::vector<DirectoryEntry>> list() override;
  [[nodiscard]] SysOr<NodePointer> create_file(std::string_view name, std::uint32_t mode) override;
  [[nodiscard]] SysResult create_directory(std::string_view name, std::uint32_t mode) override;
  [[nodiscard]] SysResult create_link(std::string_view name, std::string_view target) override;
  [[nodiscard]] SysResult link(std::string_view name, const NodePointer& existing) override;
  [[nodiscard]] SysResult unlink(std::string_view name) override;
  [[nodiscard]] SysResult remove_directory(std::string_view name) override;
  [[nodiscard]] SysResult rename(std::string_view from, const NodePointer& to,
                                 std::string_view name, unsigned flags) override;
  [[nodiscard]] bool is_writable() const override { return true; }
  [[nodiscard]] SysResult truncate(std::uint64_t size_bytes) override;
  [[nodiscard]] SysResult change(const NodeChange& change) override;
  // O_TMPFILE and memfd_create.
  [[nodiscard]] SysOr<NodePointer> create_unnamed(std::uint32_t mode);

  [[nodiscard]] const InodePointer& inode() const { return inode_; }
  [[nodiscard]] const InodePointer& folder() const { return folder_; }
  [[nodiscard]] const TmpfsMount& mount() const { return *mount_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  [[nodiscard]] SysOr<InodePointer> add(std::string_view name, std::uint32_t mode);
  [[nodiscard]] SysResult check_rename(const InodePointer& moved, const InodePointer& target,
                                       const InodePointer& replaced) const;
  const TmpfsMount* mount_;
  InodePointer inode_, folder_;
  std::string name_;
};

// Immutable, shareable.
class TmpfsMapping final : public MappedFile {
 public:
  TmpfsMapping(InodePointer inode, std::string path, std::uint64_t id)
      : inode_(std::move(inode)), path_(std::move(path)), id_(id) {}
  [[nodiscard]] std::string path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return inode_->size_bytes(); }
  [[nodiscard]] SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    return inode_->read(offset, out);
  }
  [[nodiscard]] std::uint64_t snapshot_id() const override { return id_; }
  [[nodiscard]] bool can_be_shared() const override { return true; }
  void share(SharedPages* pages) const override { inode_->share(pages); }
  [[nodiscard]] bool reserve_page(std::uint64_t index) const override {
    return inode_->reserve_page(index);
  }
  void put_back(std::uint64_t index, std::span<const std::byte> page) const override {
    inode_->put_back(index, page);
  }
  [[nodiscard]] const InodePointer& inode() const { return inode_; }

 private:
  InodePointer inode_;
  std::string path_;
  std::uint64_t id_;
};

class TmpfsFile final : public File {
 public:
  TmpfsFile(int flags, std::shared_ptr<TmpfsNode> node)
      : File(FileKind::kTmpfs, flags, {}), node_(std::move(node)) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool is_seekable() const override { return true; }
  [[nodiscard]] FileStat stat() const override { return node_->stat(); }
  SysResult truncate(std::uint64_t size_bytes) override;
  [[nodiscard]] SysResult bytes_ready() const override;
  [[nodiscard]] SysOr<std::shared_ptr<const MappedFile>> mapping() override;
  [[nodiscard]] std::shared_ptr<Node> node() const override { return node_; }
  [[nodiscard]] std::string path() const override;
  [[nodiscard]] const std::shared_ptr<TmpfsNode>& tmpfs_node() const { return node_; }

 private:
  std::shared_ptr<TmpfsNode> node_;
};

}  // namespace stasis::linux_guest
