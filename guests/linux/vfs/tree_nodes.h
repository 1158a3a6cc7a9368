// The kinds of nodes that Vfs makes itself. Private to vfs/.
#pragma once

#include <memory>
#include <string>

#include "guests/linux/vfs/node.h"
#include "guests/linux/vfs/synthetic.h"

namespace stasis::linux_guest {

class Vfs;

// Of the host, on the allow-list (or a link of the root folder to something that is).
class HostNode final : public Node {
 public:
  HostNode(Vfs& vfs, std::string path, FileStat stat, std::string target)
      : vfs_(&vfs), path_(std::move(path)), stat_(stat), target_(std::move(target)) {}
  [[nodiscard]] FileStat stat() const override { return stat_; }
  [[nodiscard]] std::string path() const override { return path_; }
  [[nodiscard]] SysOr<std::shared_ptr<File>> open(int flags) override;
  [[nodiscard]] std::string link_target() const override { return target_; }
  [[nodiscard]] SysOr<NodePointer> lookup(std::string_view name) override;
  [[nodiscard]] NodePointer parent() override;
  [[nodiscard]] SysOr<std::vector<DirectoryEntry>> list() override;

 private:
  Vfs* vfs_;
  std::string path_;
  FileStat stat_;
  std::string target_;
};

// A folder that exists since something below it does.
class LeadingNode final : public Node {
 public:
  LeadingNode(Vfs& vfs, std::string path) : vfs_(&vfs), path_(std::move(path)) {}
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::string path() const override { return path_; }
  [[nodiscard]] SysOr<std::shared_ptr<File>> open(int flags) override;
  [[nodiscard]] SysOr<NodePointer> lookup(std::string_view name) override;
  [[nodiscard]] NodePointer parent() override;
  [[nodiscard]] SysOr<std::vector<DirectoryEntry>> list() override;

 private:
  Vfs* vfs_;
  std::string path_;
};

class SyntheticNode final : public Node {
 public:
  SyntheticNode(Vfs& vfs, std::string path, const SyntheticEntry& entry)
      : vfs_(&vfs), path_(std::move(path)), entry_(entry) {}
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::string path() const override { return path_; }
  [[nodiscard]] SysOr<std::shared_ptr<File>> open(int flags) override;
  [[nodiscard]] std::string link_target() const override;
  [[nodiscard]] std::shared_ptr<File> linked_file() const override;
  [[nodiscard]] NodePointer parent() override;
  [[nodiscard]] bool is_writable() const override { return true; }  // Devices; text refuses itself.

 private:
  Vfs* vfs_;
  std::string path_;
  SyntheticEntry entry_;
};

[[nodiscard]] std::string parent_path(const std::string& path);
[[nodiscard]] std::string child_path(const std::string& folder, std::string_view name);
[[nodiscard]] std::uint64_t inode_of_path(std::string_view path);  // A number that stays.

}  // namespace stasis::linux_guest
