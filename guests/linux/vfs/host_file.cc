#include "guests/linux/vfs/host_file.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "guests/linux/vfs/host_tree.h"
#include "guests/linux/vfs/mapping_registry.h"

namespace stasis::linux_guest {
namespace {

SysResult read_host(int descriptor, std::uint64_t offset, std::span<std::byte> out) {
  if (offset > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return -EINVAL;
  }
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = ::pread(descriptor, out.data() + done, out.size() - done,
                             static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return done != 0 ? static_cast<SysResult>(done) : -errno;
    }
    if (got == 0) {
      break;
    }
    done += static_cast<std::size_t>(got);
  }
  return static_cast<SysResult>(done);
}

// Whether each write, also one through a mapping, moves the time of change: so do these file
// systems, which write to their own disks. tmpfs does not for mappings, and servers have clocks of
// their own.
bool keeps_time_of_change(int descriptor) {
  struct statfs system = {};
  if (::fstatfs(descriptor, &system) != 0) {
    return false;
  }
  constexpr std::array<std::uint64_t, 4> kKnown = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
                                                   BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};
  return std::ranges::find(kKnown, static_cast<std::uint64_t>(system.f_type)) != kKnown.end();
}

// A page that was written through a mapping can be written again, and no time moves, until the
// kernel has written it back: by default half a minute later (/proc/sys/vm/dirty_expire_centisecs).
constexpr std::int64_t kSettledNs = std::int64_t{120} * 1'000'000'000;

// Without the time of change if it cannot vouch for the content from now on.
HostFileVersion version_of(const FileStat& stat, int descriptor) {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);  // The clock of the times in inodes.
  const std::int64_t now_ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  const bool vouches = stat.changed_ns <= now_ns - kSettledNs && keeps_time_of_change(descriptor);
  return {stat.device, stat.inode, vouches ? stat.changed_ns : 0};
}

// With the hash, if the file is not too large for one.
SysOr<HostFileIdentity> hashed(HostFileIdentity identity, int descriptor) {
  if (identity.size_bytes > kHashedBytesMax) {
    return identity;
  }
  // FNV-1a: finds accidents, as the whole check does.
  std::uint64_t hash = 0xcbf29ce484222325;
  std::array<std::byte, 16384> piece{};
  std::uint64_t at = 0;
  for (SysResult got = 1; got > 0; at += static_cast<std::uint64_t>(got)) {
    got = read_host(descriptor, at, piece);
    if (got < 0) {
      return Errno{static_cast<int>(-got)};
    }
    for (const std::byte byte : std::span(piece).first(static_cast<std::size_t>(got))) {
      hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
    }
  }
  identity.content_hash = hash;
  return identity;
}

}  // namespace

SysOr<HostFileIdentity> identity_of(const std::string& path, int descriptor) {
  SysOr<FileStat> stat = stat_of(descriptor);
  if (!stat.ok()) {
    return stat.code();
  }
  return hashed({path, stat->size_bytes, stat->modified_ns, 0, version_of(*stat, descriptor)},
                descriptor);
}

SysOr<HostFileIdentity> identity_since(const HostFileIdentity& was, int descriptor) {
  SysOr<FileStat> stat = stat_of(descriptor);
  if (!stat.ok()) {
    return stat.code();
  }
  const HostFileVersion version{stat->device, stat->inode, stat->changed_ns};
  HostFileIdentity identity{was.path, stat->size_bytes, stat->modified_ns, 0, version};
  if (was.version.changed_ns != 0 && was.version == version) {
    identity.content_hash = was.content_hash;
    return identity;
  }
  return hashed(std::move(identity), descriptor);
}

SysResult HostMapping::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  return read_host(descriptor_->get(), offset, out);
}

SysResult HostFile::read(std::uint64_t offset, std::span<std::byte> out) {
  return read_host(descriptor_->get(), offset, out);
}
SysResult HostFile::write(std::uint64_t /*offset*/, std::span<const std::byte> /*bytes*/) {
  return -EBADF;
}

FileStat HostFile::stat() const {
  SysOr<FileStat> stat = stat_of(descriptor_->get());
  return stat.ok() ? *stat : FileStat{};
}

SysResult HostFile::bytes_ready() const {
  const std::uint64_t size = stat().size_bytes;
  return size <= offset()
             ? 0
             : static_cast<SysResult>(std::min<std::uint64_t>(size - offset(), 0x7fffffff));
}

SysOr<std::shared_ptr<const MappedFile>> HostFile::mapping() {
  return mappings_->of_host_file(path(), descriptor_);
}

SysOr<HostFileIdentity> HostFile::identity() const {
  return identity_of(path(), descriptor_->get());
}

SysOr<std::shared_ptr<const MappedFile>> MappingRegistry::of_host_file(
    const std::string& path, const std::shared_ptr<const UniqueFd>& descriptor) {
  SysOr<FileStat> stat = stat_of(descriptor->get());
  if (!stat.ok()) {
    return stat.code();
  }
  for (const auto& [id, weak] : files_) {
    const auto file = weak.lock();
    const auto* const host = dynamic_cast<const HostMapping*>(file.get());
    if (host != nullptr && host->path() == path &&
        host->identity().size_bytes == stat->size_bytes &&
        host->identity().modified_ns == stat->modified_ns) {
      return file;
    }
  }
  // The hash is made when a snapshot is: most mappings never see one.
  const HostFileIdentity identity{path, stat->size_bytes, stat->modified_ns, 0, {}};
  auto made = std::make_shared<const HostMapping>(identity, descriptor, next_id());
  add(made);
  return std::shared_ptr<const MappedFile>(std::move(made));
}

std::shared_ptr<const MappedFile> MappingRegistry::find(std::uint64_t id) const {
  const auto found = files_.find(id);
  return found == files_.end() ? nullptr : found->second.lock();
}

std::vector<std::shared_ptr<const MappedFile>> MappingRegistry::in_use() const {
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (const auto& [id, weak] : files_) {
    if (auto file = weak.lock()) {
      files.push_back(std::move(file));
    }
  }
  return files;
}

void MappingRegistry::keep_loaded(std::shared_ptr<const MappedFile> file) {
  add(file);
  loaded_.push_back(std::move(file));
}

void MappingRegistry::clear() {
  files_.clear();
  loaded_.clear();
}

}  // namespace stasis::linux_guest
