// The content of the file system that lives in the VM: what /tmp holds, and so a part of every
// snapshot. Inodes, without the names by which they are reached.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "core/clock.h"
#include "guests/linux/address_space.h"
#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

constexpr std::uint64_t kTmpfsFileBytesMax = std::uint64_t{1} << 40U;
constexpr std::uint64_t kTmpfsInodeCost = 512;  // What an inode or a name takes of the space.

// The space that all inodes share. Resource, which lives as long as any of them: a mapping may hold
// one longer than the kernel lives.
class TmpfsSpace {
 public:
  TmpfsSpace(std::uint64_t bytes_max, const Clock& clock) : bytes_max_(bytes_max), clock_(&clock) {}
  TmpfsSpace(const TmpfsSpace&) = delete;
  TmpfsSpace& operator=(const TmpfsSpace&) = delete;
  TmpfsSpace(TmpfsSpace&&) = delete;
  TmpfsSpace& operator=(TmpfsSpace&&) = delete;
  ~TmpfsSpace() = default;
  [[nodiscard]] bool take(std::uint64_t bytes);  // False: ENOSPC.
  void give_back(std::uint64_t bytes) { used_ -= bytes; }
  // While it lives, take() always succeeds: for a load, whose sum is checked beforehand.
  class WithoutLimit {
   public:
    explicit WithoutLimit(TmpfsSpace& space) : space_(&space) { space_->is_limited_ = false; }
    ~WithoutLimit() { space_->is_limited_ = true; }
    WithoutLimit(const WithoutLimit&) = delete;
    WithoutLimit& operator=(const WithoutLimit&) = delete;
    WithoutLimit(WithoutLimit&&) = delete;
    WithoutLimit& operator=(WithoutLimit&&) = delete;

   private:
    TmpfsSpace* space_;
  };
  [[nodiscard]] std::uint64_t bytes_used() const { return used_; }
  [[nodiscard]] std::uint64_t bytes_max() const { return bytes_max_; }
  [[nodiscard]] std::int64_t now_ns() const { return clock_->wall_ns(); }
  [[nodiscard]] std::uint64_t next_number() { return ++last_number_; }
  [[nodiscard]] std::uint64_t last_number() const { return last_number_; }
  void set_last_number(std::uint64_t number) { last_number_ = number; }

 private:
  std::uint64_t bytes_max_;
  const Clock* clock_;
  std::uint64_t used_ = 0;
  bool is_limited_ = true;
  std::uint64_t last_number_ = 0;
};

class TmpfsInode;
using InodePointer =
    std::shared_ptr<TmpfsInode>;  // Shared: names, open files and mappings hold it.

// Resource. A folder's entries hold their inodes; `parent` does not hold the folder.
class TmpfsInode {
 public:
  using Page = std::array<std::byte, kPageBytes>;

  // Null: ENOSPC.
  [[nodiscard]] static InodePointer make(const std::shared_ptr<TmpfsSpace>& space,
                                         std::uint32_t mode);
  ~TmpfsInode();
  TmpfsInode(const TmpfsInode&) = delete;
  TmpfsInode& operator=(const TmpfsInode&) = delete;

  // Regular files. Bytes, or -errno; holes read as zeros.
  [[nodiscard]] SysResult read(std::uint64_t offset, std::span<std::byte> out) const;
  [[nodiscard]] SysResult write(std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] SysResult truncate(std::uint64_t size_bytes);
  // fallocate(2) with FALLOC_FL_PUNCH_HOLE.
  void punch(std::uint64_t offset, std::uint64_t size_bytes);
  [[nodiscard]] std::uint64_t size_bytes() const { return size_; }
  [[nodiscard]] const std::map<std::uint64_t, std::unique_ptr<Page>>& pages() const {
    return pages_;
  }

  // Mapped shared: MappedFile.
  void share(SharedPages* pages) { shared_ = pages; }
  [[nodiscard]] bool reserve_page(std::uint64_t index) { return page_for_write(index) != nullptr; }
  void put_back(std::uint64_t index, std::span<const std::byte> page);

  // For a load: whole pages of content, and the size. False: ENOSPC.
  [[nodiscard]] bool set_page(std::uint64_t index, std::span<const std::byte> content);
  void set_size(std::uint64_t size_bytes) { size_ = size_bytes; }

  // Folders. False: ENOSPC.
  [[nodiscard]] bool add_entry(const std::string& name, const InodePointer& inode);
  void remove_entry(const std::string& name);
  [[nodiscard]] InodePointer entry(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, InodePointer>& entries() const { return entries_; }

  [[nodiscard]] bool is_directory() const;
  [[nodiscard]] FileStat stat() const;
  [[nodiscard]] const std::shared_ptr<TmpfsSpace>& space() const { return space_; }
  void touch();  // Modified now.

  // Plain metadata, with no rule of its own.
  // NOLINTBEGIN(misc-non-private-member-variables-in-classes): accessors would add nothing.
  std::uint64_t number = 0;
  std::uint32_t mode = 0;
  std::uint32_t user = 0, group = 0;
  std::int64_t accessed_ns = 0, modified_ns = 0, changed_ns = 0;
  std::string target = {};  // Of a link.
  std::weak_ptr<TmpfsInode> parent = {};
  std::string name = {};  // In the parent, of a folder.
  std::uint64_t links = 0;
  // NOLINTEND(misc-non-private-member-variables-in-classes)

 private:
  explicit TmpfsInode(std::shared_ptr<TmpfsSpace> space) : space_(std::move(space)) {}
  [[nodiscard]] Page* page_for_write(std::uint64_t index);
  void zero(std::uint64_t begin, std::uint64_t end);
  // Empty: a hole.
  [[nodiscard]] std::span<const std::byte> content(std::uint64_t index) const;

  std::shared_ptr<TmpfsSpace> space_;
  std::map<std::uint64_t, std::unique_ptr<Page>> pages_;  // Out of date where shared_ has one.
  SharedPages* shared_ = nullptr;
  std::map<std::string, InodePointer> entries_;
  std::uint64_t size_ = 0;
};

}  // namespace stasis::linux_guest
