#include "guests/linux/vfs/host_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "guests/linux/vfs/open_beneath.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kEntriesMax = 1'000'000;  // Of one folder.

std::int64_t nanoseconds_of(const timespec& at) {
  return (std::int64_t{at.tv_sec} * kNsPerSecond) + std::int64_t{at.tv_nsec};
}

// From the kernel's own records: readdir(3) would bring a lock and an allocation with it.
void add_entries(std::span<const std::byte> records, std::vector<DirectoryEntry>& entries) {
  // struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name (getdents64(2)).
  std::size_t at = 0;
  while (at + 19 < records.size()) {
    std::uint64_t inode = 0;
    std::uint16_t size = 0;
    std::memcpy(&inode, &records[at], sizeof inode);
    std::memcpy(&size, &records[at + 16], sizeof size);
    const auto type = std::to_integer<std::uint8_t>(records[at + 18]);
    std::string name(size, '\0');
    std::memcpy(name.data(), &records[at + 19], size - 19U);
    name.resize(std::strlen(name.c_str()));
    at += size;
    if (name != "." && name != ".." &&
        (type == DT_REG || type == DT_DIR || type == DT_LNK || type == DT_UNKNOWN)) {
      entries.push_back({std::move(name), inode, type});
    }
  }
}

}  // namespace

bool is_below(std::string_view path, std::string_view parent) {
  if (parent == "/") {
    return path.starts_with('/');
  }
  return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

SysOr<FileStat> stat_of(int descriptor) {
  struct stat host {};
  if (::fstat(descriptor, &host) != 0) {
    return Errno{errno};
  }
  FileStat stat;
  stat.device = host.st_dev;
  stat.inode = host.st_ino;
  stat.mode = host.st_mode;
  stat.links = host.st_nlink;
  stat.size_bytes = static_cast<std::uint64_t>(host.st_size);
  stat.blocks = static_cast<std::uint64_t>(host.st_blocks);
  stat.accessed_ns = nanoseconds_of(host.st_atim);
  stat.modified_ns = nanoseconds_of(host.st_mtim);
  stat.changed_ns = nanoseconds_of(host.st_ctim);
  return stat;
}

Result<std::unique_ptr<HostTree>> HostTree::open(const std::vector<std::string>& allowed) {
  std::vector<Root> roots;
  for (const std::string& path : allowed) {
    if (!path.starts_with('/') || (path.size() > 1 && path.ends_with('/'))) {
      return Error{Errc::kInvalidArgument, 0, "'" + path + "' is not a canonical absolute path"};
    }
    for (const std::string_view own : {"/dev", "/proc", "/sys"}) {
      if (is_below(path, own)) {
        return Error{Errc::kInvalidArgument, 0,
                     "'" + path + "' cannot be given to a guest: " + std::string(own) +
                         " is always its own"};
      }
    }
    UniqueFd descriptor(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!descriptor.is_open()) {
      return errno_error(errno, "open '" + path + "' for the guest");
    }
    SysOr<FileStat> stat = stat_of(descriptor.get());
    if (!stat.ok() || !(S_ISREG(stat->mode) || S_ISDIR(stat->mode))) {
      return Error{Errc::kInvalidArgument, 0,
                   "'" + path + "' is neither a file nor a folder (links must be resolved before)"};
    }
    roots.push_back({path, std::move(descriptor)});
  }
  std::ranges::sort(roots,
                    [](const Root& a, const Root& b) { return a.path.size() > b.path.size(); });
  return std::unique_ptr<HostTree>(new HostTree(std::move(roots)));
}

bool HostTree::covers(std::string_view path) const {
  return std::ranges::any_of(roots_, [&](const Root& root) { return is_below(path, root.path); });
}

bool HostTree::covers_within(std::string_view path, std::string_view above) const {
  return std::ranges::any_of(roots_, [&](const Root& root) {
    return root.path != above && is_below(root.path, above) && is_below(path, root.path);
  });
}

bool HostTree::leads_to(std::string_view path) const {
  return std::ranges::any_of(
      roots_, [&](const Root& root) { return root.path != path && is_below(root.path, path); });
}

std::vector<std::string> HostTree::names_below(std::string_view path) const {
  std::set<std::string> names;
  const std::size_t skipped = path == "/" ? 1 : path.size() + 1;
  for (const Root& root : roots_) {
    if (root.path != path && is_below(root.path, path)) {
      std::string_view rest = root.path;
      rest.remove_prefix(skipped);
      names.emplace(rest.substr(0, rest.find('/')));
    }
  }
  return {names.begin(), names.end()};
}

SysOr<std::shared_ptr<const UniqueFd>> HostTree::open_beneath(const std::string& path,
                                                              int flags) const {
  for (const Root& root : roots_) {
    if (!is_below(path, root.path)) {
      continue;
    }
    const std::size_t skipped = root.path == "/" ? 1 : root.path.size() + 1;
    const std::string rest = path.size() < skipped ? std::string() : path.substr(skipped);
    SysOr<UniqueFd> opened = linux_guest::open_beneath(root.descriptor.get(), rest, flags);
    if (!opened.ok()) {
      return opened.code();
    }
    return std::make_shared<const UniqueFd>(std::move(*opened));
  }
  return Errno{ENOENT};
}

SysOr<FileStat> HostTree::stat(const std::string& path) const {
  auto opened = open_beneath(path, O_PATH);
  return opened.ok() ? stat_of((*opened)->get()) : opened.code();
}

SysOr<std::string> HostTree::read_link(const std::string& path) const {
  auto opened = open_beneath(path, O_PATH);
  if (!opened.ok()) {
    return opened.code();
  }
  std::array<char, 4096> target{};
  const auto size = ::readlinkat((*opened)->get(), "", target.data(), target.size());
  if (size < 0) {
    return Errno{errno};
  }
  return std::string(target.data(), static_cast<std::size_t>(size));
}

SysOr<std::vector<DirectoryEntry>> HostTree::list(const std::string& path) const {
  auto opened = open_beneath(path, O_RDONLY | O_DIRECTORY);
  if (!opened.ok()) {
    return opened.code();
  }
  std::vector<DirectoryEntry> entries;
  std::array<std::byte, 32768> records{};
  while (entries.size() < kEntriesMax) {
    const auto size = ::getdents64((*opened)->get(), records.data(), records.size());
    if (size < 0) {
      return Errno{errno};
    }
    if (size == 0) {
      break;
    }
    add_entries(std::span(records).first(static_cast<std::size_t>(size)), entries);
  }
  return entries;
}

SysOr<std::shared_ptr<const UniqueFd>> HostTree::open_file(const std::string& path) const {
  // Without O_NONBLOCK a FIFO would block the open.
  auto opened = open_beneath(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!opened.ok()) {
    return opened;
  }
  SysOr<FileStat> stat = stat_of((*opened)->get());
  if (!stat.ok() || !S_ISREG(stat->mode)) {
    return Errno{EACCES};
  }
  return opened;
}

}  // namespace stasis::linux_guest
