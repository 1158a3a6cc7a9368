// A regular file of the host, open for reading.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "core/unique_fd.h"
#include "guests/linux/files/file.h"
#include "guests/linux/vfs/node.h"

namespace stasis::linux_guest {

// Which inode a file was, and when that last changed in any way: st_dev, st_ino, st_ctime. No call
// sets that time; a later change of the content moves it. Value.
struct HostFileVersion {
  std::uint64_t device = 0, inode = 0;
  std::int64_t changed_ns = 0;  // 0: unknown, or too young to be relied on.
  friend bool operator==(const HostFileVersion&, const HostFileVersion&) = default;
};

// What a snapshot remembers of a file to see whether it is still the same one. Value.
struct HostFileIdentity {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  std::uint64_t content_hash = 0;  // FNV-1a of a file of at most kHashedBytesMax, else 0.
  HostFileVersion version = {};
  friend bool operator==(const HostFileIdentity&, const HostFileIdentity&) = default;
};
constexpr std::uint64_t kHashedBytesMax = std::uint64_t{1} << 20U;

// Of the file as it is now, all of it read if it is hashed.
[[nodiscard]] SysOr<HostFileIdentity> identity_of(const std::string& path, int descriptor);
// The same, but where the version proves that the content is what it was, its hash is `was`'s and
// the file is not read (docs/decisions/0020-files-vouched-for-by-ctime.md).
[[nodiscard]] SysOr<HostFileIdentity> identity_since(const HostFileIdentity& was, int descriptor);

// Immutable, shareable: what mappings of the file hold.
class HostMapping final : public MappedFile {
 public:
  HostMapping(HostFileIdentity identity, std::shared_ptr<const UniqueFd> descriptor,
              std::uint64_t id)
      : identity_(std::move(identity)), descriptor_(std::move(descriptor)), id_(id) {}
  [[nodiscard]] std::string path() const override { return identity_.path; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return identity_.size_bytes; }
  [[nodiscard]] SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] std::uint64_t snapshot_id() const override { return id_; }
  [[nodiscard]] const HostFileIdentity& identity() const { return identity_; }
  // With the hash, of the file as it is now.
  [[nodiscard]] SysOr<HostFileIdentity> identity_now() const {
    return identity_of(identity_.path, descriptor_->get());
  }

 private:
  HostFileIdentity identity_;
  std::shared_ptr<const UniqueFd> descriptor_;
  std::uint64_t id_;
};

class MappingRegistry;

class HostFile final : public File {
 public:
  HostFile(int flags, std::string path, std::shared_ptr<const UniqueFd> descriptor,
           NodePointer node, MappingRegistry& mappings)
      : File(FileKind::kHost, flags, std::move(path)),
        descriptor_(std::move(descriptor)),
        node_(std::move(node)),
        mappings_(&mappings) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool is_seekable() const override { return true; }
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] SysResult bytes_ready() const override;
  [[nodiscard]] SysOr<std::shared_ptr<const MappedFile>> mapping() override;
  [[nodiscard]] std::shared_ptr<Node> node() const override { return node_; }
  [[nodiscard]] SysOr<HostFileIdentity> identity() const;

 private:
  std::shared_ptr<const UniqueFd> descriptor_;
  NodePointer node_;
  MappingRegistry* mappings_;  // Outlives all files.
};

}  // namespace stasis::linux_guest
