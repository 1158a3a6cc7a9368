#include "tests/snapshot/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace stasis::snapshot {

// A file or a directory, as it is and as it was last synced.
struct MemoryFileSystem::Node {
  bool directory = false;
  bool locked = false;
  std::vector<std::byte> bytes, synced_bytes;
  Entries entries, synced_entries;
};

class MemoryFileSystem::Reader final : public ReadableFile {
 public:
  Reader(std::string path, std::vector<std::byte> bytes)
      : path_(std::move(path)), bytes_(std::move(bytes)) {}
  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] int fd() const override { return -1; }
  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (!fits(offset, out.size(), bytes_.size())) {
      return Error{Errc::kCorruption, 0, "'" + path_ + "' ends too early"};
    }
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }

 private:
  std::string path_;
  std::vector<std::byte> bytes_;  // A copy: readers see the file as it was opened.
};

class MemoryFileSystem::Writer final : public WritableFile {
 public:
  Writer(MemoryFileSystem& file_system, std::string path, std::shared_ptr<Node> node)
      : file_system_(file_system), path_(std::move(path)), node_(std::move(node)) {}

  Result<void> write_at(std::uint64_t offset,
                        std::span<const std::span<const std::byte>> pieces) override {
    return file_system_.change("write", path_, [&]() -> Result<void> {
      for (const auto piece : pieces) {
        node_->bytes.resize(std::max<std::size_t>(node_->bytes.size(), offset + piece.size()));
        std::copy(piece.begin(), piece.end(),
                  node_->bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        offset += piece.size();
      }
      return {};
    });
  }
  Result<void> set_size(std::uint64_t bytes) override {
    return file_system_.change("resize", path_, [&]() -> Result<void> {
      node_->bytes.resize(bytes);
      return {};
    });
  }
  void start_writeback(std::uint64_t /*offset*/, std::uint64_t /*bytes*/) override {}
  Result<void> sync() override {
    return file_system_.change("sync", path_, [&]() -> Result<void> {
      node_->synced_bytes = node_->bytes;
      return {};
    });
  }
  Result<void> close() override {
    return file_system_.change("close", path_, []() -> Result<void> { return {}; });
  }

 private:
  MemoryFileSystem& file_system_;
  std::string path_;
  std::shared_ptr<Node> node_;
};

class MemoryFileSystem::Lock final : public DirectoryLock {
 public:
  Lock(MemoryFileSystem& file_system, std::shared_ptr<Node> node)
      : file_system_(file_system), node_(std::move(node)) {}
  ~Lock() override {
    const MutexLock lock(file_system_.mutex_);
    node_->locked = false;
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  Lock(Lock&&) = delete;
  Lock& operator=(Lock&&) = delete;

 private:
  MemoryFileSystem& file_system_;
  std::shared_ptr<Node> node_;
};

MemoryFileSystem::MemoryFileSystem() : root_(std::make_shared<Node>()) {
  root_->directory = true;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the tests' directories.
std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::survivor(const Node& node,
                                                                   Survivors survivors) {
  auto copy = std::make_shared<Node>();
  copy->directory = node.directory;
  copy->bytes = survivors == Survivors::kAll ? node.bytes : node.synced_bytes;
  const Entries& entries = survivors == Survivors::kSyncedOnly ? node.synced_entries : node.entries;
  for (const auto& [name, child] : entries) {
    copy->entries[name] = survivor(*child, survivors);
  }
  copy->synced_bytes = copy->bytes;
  copy->synced_entries = copy->entries;
  return copy;
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::after_crash(Survivors survivors) const {
  auto rebooted = std::make_unique<MemoryFileSystem>();
  const MutexLock lock(mutex_);
  const MutexLock other(rebooted->mutex_);
  rebooted->root_ = survivor(*root_, survivors);
  return rebooted;
}

// NOLINTNEXTLINE(misc-no-recursion)
void MemoryFileSystem::settle_node(Node& node) {
  node.synced_bytes = node.bytes;
  node.synced_entries = node.entries;
  for (const auto& [name, child] : node.entries) {
    settle_node(*child);
  }
}

void MemoryFileSystem::settle() {
  const MutexLock lock(mutex_);
  settle_node(*root_);
}

// NOLINTNEXTLINE(misc-no-recursion)
void MemoryFileSystem::collect(const Node& node, const std::string& path,
                               std::map<std::string, std::vector<std::byte>>& files) {
  if (!node.directory) {
    files[path] = node.bytes;
  }
  for (const auto& [name, child] : node.entries) {
    collect(*child, path + "/" + name, files);
  }
}

std::map<std::string, std::vector<std::byte>> MemoryFileSystem::files() const {
  std::map<std::string, std::vector<std::byte>> files;
  const MutexLock lock(mutex_);
  collect(*root_, "", files);
  return files;
}

void MemoryFileSystem::overwrite(const std::string& path, std::vector<std::byte> bytes) {
  const MutexLock lock(mutex_);
  const auto node = find(path);
  STASIS_CHECK(node != nullptr && !node->directory);
  node->bytes = std::move(bytes);
}

std::shared_ptr<MemoryFileSystem::Node> MemoryFileSystem::find(const std::string& path) const {
  std::shared_ptr<Node> node = root_;
  std::vector<std::shared_ptr<Node>> above;
  for (std::size_t at = 0; at < path.size() && node != nullptr;) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    at = end + 1;
    if (name.empty() || name == ".") {
      continue;
    }
    if (name == "..") {
      if (above.empty()) {
        return nullptr;
      }
      node = above.back();
      above.pop_back();
      continue;
    }
    const auto child = node->entries.find(name);
    above.push_back(node);
    node = child == node->entries.end() ? nullptr : child->second;
  }
  return node;
}

namespace {

Error failure(Errc code, int os_error, const std::string& path) {
  return Error{code, os_error, "memory file '" + path + "'"};
}

}  // namespace

Result<std::shared_ptr<MemoryFileSystem::Node>> MemoryFileSystem::find_directory(
    const std::string& path) const {
  auto node = find(path);
  if (node == nullptr) {
    return failure(Errc::kNotFound, ENOENT, path);
  }
  if (!node->directory) {
    return failure(Errc::kIo, ENOTDIR, path);
  }
  return node;
}

template <typename Change>
Result<void> MemoryFileSystem::change(std::string_view operation, const std::string& path,
                                      Change apply) {
  if (before) {
    STASIS_TRY(before(operation, path));
  }
  {
    const MutexLock lock(mutex_);
    STASIS_TRY(apply());
  }
  if (after) {
    after();
  }
  return {};
}

Result<std::optional<FileKind>> MemoryFileSystem::status(const std::string& path) {
  const MutexLock lock(mutex_);
  const auto node = find(path);
  if (node == nullptr) {
    return std::optional<FileKind>();
  }
  return std::optional(node->directory ? FileKind::kDirectory : FileKind::kFile);
}

Result<std::unique_ptr<ReadableFile>> MemoryFileSystem::open_file(const std::string& path) {
  const MutexLock lock(mutex_);
  const auto node = find(path);
  if (node == nullptr) {
    return failure(Errc::kNotFound, ENOENT, path);
  }
  if (node->directory) {
    return failure(Errc::kCorruption, 0, path);
  }
  return std::unique_ptr<ReadableFile>(new Reader(path, node->bytes));
}

Result<std::unique_ptr<WritableFile>> MemoryFileSystem::create_file(const std::string& path) {
  const auto node = std::make_shared<Node>();
  STASIS_TRY(change("create", path, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    const SplitPath split = split_path(path);
    STASIS_ASSIGN(const auto parent, find_directory(split.parent));
    if (!parent->entries.emplace(split.name, node).second) {
      return failure(Errc::kAlreadyExists, EEXIST, path);
    }
    return {};
  }));
  return std::unique_ptr<WritableFile>(new Writer(*this, path, node));
}

Result<std::unique_ptr<DirectoryLock>> MemoryFileSystem::create_directory(const std::string& path) {
  const auto node = std::make_shared<Node>();
  node->directory = true;
  node->locked = true;
  STASIS_TRY(change("mkdir", path, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    const SplitPath split = split_path(path);
    STASIS_ASSIGN(const auto parent, find_directory(split.parent));
    if (!parent->entries.emplace(split.name, node).second) {
      return failure(Errc::kAlreadyExists, EEXIST, path);
    }
    return {};
  }));
  return std::unique_ptr<DirectoryLock>(new Lock(*this, node));
}

Result<std::unique_ptr<DirectoryLock>> MemoryFileSystem::try_lock_directory(
    const std::string& path) {
  const MutexLock lock(mutex_);
  const auto node = find(path);
  if (node == nullptr || !node->directory || node->locked) {
    return std::unique_ptr<DirectoryLock>();
  }
  node->locked = true;
  return std::unique_ptr<DirectoryLock>(new Lock(*this, node));
}

Result<std::vector<std::string>> MemoryFileSystem::list_directory(const std::string& path) {
  const MutexLock lock(mutex_);
  STASIS_ASSIGN(const auto node, find_directory(path));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) {
    names.push_back(name);
  }
  return names;
}

Result<void> MemoryFileSystem::remove_file(const std::string& path) {
  return change("unlink", path, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    const SplitPath split = split_path(path);
    STASIS_ASSIGN(const auto parent, find_directory(split.parent));
    return parent->entries.erase(split.name) == 1
               ? Result<void>()
               : Result<void>(failure(Errc::kNotFound, ENOENT, path));
  });
}

Result<void> MemoryFileSystem::remove_directory(const std::string& path) {
  return change("rmdir", path, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    const SplitPath split = split_path(path);
    STASIS_ASSIGN(const auto parent, find_directory(split.parent));
    STASIS_ASSIGN(const auto node, find_directory(path));
    if (!node->entries.empty()) {
      return failure(Errc::kAlreadyExists, ENOTEMPTY, path);
    }
    parent->entries.erase(split.name);
    return {};
  });
}

Result<void> MemoryFileSystem::rename(const std::string& from, const std::string& to) {
  return change("rename", to, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    STASIS_ASSIGN(const auto old_parent, find_directory(split_path(from).parent));
    STASIS_ASSIGN(const auto new_parent, find_directory(split_path(to).parent));
    const auto node = find(from);
    if (node == nullptr) {
      return failure(Errc::kNotFound, ENOENT, from);
    }
    if (!new_parent->entries.emplace(split_path(to).name, node).second) {
      return failure(Errc::kAlreadyExists, EEXIST, to);
    }
    old_parent->entries.erase(split_path(from).name);
    return {};
  });
}

Result<void> MemoryFileSystem::exchange(const std::string& a, const std::string& b) {
  return change("exchange", b, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    STASIS_ASSIGN(const auto parent_a, find_directory(split_path(a).parent));
    STASIS_ASSIGN(const auto parent_b, find_directory(split_path(b).parent));
    if (find(a) == nullptr || find(b) == nullptr) {
      return failure(Errc::kNotFound, ENOENT, b);
    }
    std::swap(parent_a->entries[split_path(a).name], parent_b->entries[split_path(b).name]);
    return {};
  });
}

Result<void> MemoryFileSystem::sync_directory(const std::string& path) {
  return change("sync directory", path, [&]() STASIS_REQUIRES(mutex_) -> Result<void> {
    STASIS_ASSIGN(const auto node, find_directory(path));
    node->synced_entries = node->entries;
    return {};
  });
}

Result<std::string> MemoryFileSystem::canonical_path(const std::string& path) {
  const MutexLock lock(mutex_);
  return find(path) != nullptr ? Result<std::string>(path)
                               : Result<std::string>(failure(Errc::kNotFound, ENOENT, path));
}

}  // namespace stasis::snapshot
