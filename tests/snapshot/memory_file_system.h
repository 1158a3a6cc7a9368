// A file system in memory that knows what a crash would leave of it, and fails on request.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/check.h"
#include "core/mutex.h"
#include "snapshot/file_system.h"

namespace stasis::snapshot {

// What survives of operations that were not synced when the host crashes.
enum class Survivors {
  kAll,          // Everything reached the disk in time.
  kSyncedOnly,   // Bytes and directory entries as of their last sync.
  kEntriesOnly,  // Directory entries did, bytes of files did not.
};

// Absolute paths only; "/" exists. Thread-safe.
class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();

  // The file system as the next boot would find it: nothing is locked, everything is synced.
  [[nodiscard]] std::unique_ptr<MemoryFileSystem> after_crash(Survivors survivors) const;
  // Everything so far counts as synced.
  void settle();
  // All regular files by path, hidden ones included: for comparison.
  [[nodiscard]] std::map<std::string, std::vector<std::byte>> files() const;
  // Damages a file from outside.
  void overwrite(const std::string& path, std::vector<std::byte> bytes);

  // Called before every operation that changes something; an error makes it fail with that error.
  std::function<Result<void>(std::string_view operation, const std::string& path)> before;
  // Called after every such operation that succeeded.
  std::function<void()> after;

  Result<std::optional<FileKind>> status(const std::string& path) override;
  Result<std::unique_ptr<ReadableFile>> open_file(const std::string& path) override;
  Result<std::unique_ptr<WritableFile>> create_file(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> create_directory(const std::string& path) override;
  Result<std::unique_ptr<DirectoryLock>> try_lock_directory(const std::string& path) override;
  Result<std::vector<std::string>> list_directory(const std::string& path) override;
  Result<void> remove_file(const std::string& path) override;
  Result<void> remove_directory(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> exchange(const std::string& a, const std::string& b) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<std::string> canonical_path(const std::string& path) override;

 private:
  struct Node;
  using Entries = std::map<std::string, std::shared_ptr<Node>>;
  class Reader;
  class Writer;
  class Lock;

  static std::shared_ptr<Node> survivor(const Node& node, Survivors survivors);
  static void collect(const Node& node, const std::string& path,
                      std::map<std::string, std::vector<std::byte>>& files);
  static void settle_node(Node& node);
  std::shared_ptr<Node> find(const std::string& path) const STASIS_REQUIRES(mutex_);
  Result<std::shared_ptr<Node>> find_directory(const std::string& path) const
      STASIS_REQUIRES(mutex_);
  // Runs one changing operation between the two hooks.
  template <typename Change>
  Result<void> change(std::string_view operation, const std::string& path, Change apply);

  mutable Mutex mutex_;
  std::shared_ptr<Node> root_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::snapshot
