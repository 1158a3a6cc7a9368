// How a directory appears under its name wholly or not at all. Private to snapshot/.
//
// The files are made in a hidden directory beside the target, ".NAME.stasis-<random>", which its
// saver keeps locked. A saver that dies leaves it unlocked behind; the next saver of the same name
// removes it. Publication is one rename, or one exchange with what stood there before.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "snapshot/file_system.h"

namespace stasis::snapshot::internal {

// Resource: removes the unpublished directory when destroyed. Thread-compatible.
class Publication {
 public:
  // kAlreadyExists if `target` exists, unless it is a snapshot and `replace` is set; kNotFound if
  // its parent directory does not exist; kIo.
  static Result<std::unique_ptr<Publication>> begin(FileSystem& file_system,
                                                    const std::string& target, bool replace);
  ~Publication();
  Publication(const Publication&) = delete;
  Publication& operator=(const Publication&) = delete;
  Publication(Publication&&) = delete;
  Publication& operator=(Publication&&) = delete;

  [[nodiscard]] const std::string& target() const noexcept { return target_; }  // Canonical.
  Result<std::unique_ptr<WritableFile>> create_file(std::string_view name);
  // All files must be closed, and synced if `sync` is set. Returns the hidden directory in which
  // the snapshot that was replaced now lies, for discard(); empty: there was none.
  Result<std::string> publish(bool sync);

 private:
  Publication(FileSystem& file_system, std::string target, std::string parent,
              std::string directory, std::unique_ptr<DirectoryLock> lock, bool replace);
  Result<bool> move_into_place();

  FileSystem& file_system_;
  std::string target_, parent_;
  std::string directory_;  // Empty when nothing is left to remove.
  std::unique_ptr<DirectoryLock> lock_;
  bool replace_;
};

// The opposite: a snapshot disappears under its name at once. Returns the hidden directory in which
// it now lies, for discard(). kNotFound; kAlreadyExists for what is not a snapshot.
Result<std::string> withdraw(FileSystem& file_system, const std::string& target);

// The hidden directories in `directory` whose owner is dead, for discard(), by the one who alone
// saves there.
std::vector<std::string> leftovers_in(FileSystem& file_system, const std::string& directory);

// Removes a directory with its files. What does not let itself be removed stays, and the next saver
// of that name tries again.
void discard(FileSystem& file_system, const std::string& directory);

}  // namespace stasis::snapshot::internal
