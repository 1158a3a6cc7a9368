#include "snapshot/publication.h"

#include <string_view>
#include <utility>

#include "snapshot/manifest.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::string_view kTemporaryMark = ".stasis-";

std::string temporary_prefix(const std::string& name) {
  return "." + name + std::string(kTemporaryMark);
}

// Visits the temporaries whose names begin so and that nobody has locked, and holds their locks
// meanwhile: a saver locks what it has just created, and must not find it half removed.
template <typename Visit>
void for_each_ownerless(FileSystem& file_system, const std::string& directory,
                        std::string_view prefix, Visit visit) {
  const auto names = file_system.list_directory(directory);
  if (!names) {
    return;  // Whoever creates something there learns what is wrong.
  }
  for (const std::string& name : *names) {
    if (name.compare(0, prefix.size(), prefix) != 0 ||
        name.find(kTemporaryMark) == std::string::npos) {
      continue;
    }
    const std::string path = join_path(directory, name);
    const auto lock = file_system.try_lock_directory(path);
    if (lock && *lock != nullptr) {
      visit(path);
    }
  }
}

void remove_stale_temporaries(FileSystem& file_system, const std::string& parent,
                              const std::string& name) {
  for_each_ownerless(file_system, parent, temporary_prefix(name),
                     [&](const std::string& path) { discard(file_system, path); });
}

Error already_exists(const std::string& target, std::string_view why) {
  return Error{Errc::kAlreadyExists, 0, "'" + target + "' exists" + std::string(why)};
}

Result<void> check_target(FileSystem& file_system, const std::string& target, bool replace) {
  STASIS_ASSIGN(const auto kind, file_system.status(target));
  if (!kind) {
    return {};
  }
  STASIS_ASSIGN(const auto manifest, file_system.status(join_path(target, kManifestFile)));
  if (*kind != FileKind::kDirectory || !manifest) {
    return already_exists(target, " and is not a snapshot: choose another name");
  }
  return replace ? Result<void>()
                 : already_exists(target, ": choose another name, or ask for it to be replaced");
}

}  // namespace

Publication::Publication(FileSystem& file_system, std::string target, std::string parent,
                         std::string directory, std::unique_ptr<DirectoryLock> lock, bool replace)
    : file_system_(file_system),
      target_(std::move(target)),
      parent_(std::move(parent)),
      directory_(std::move(directory)),
      lock_(std::move(lock)),
      replace_(replace) {}

Publication::~Publication() {
  if (!directory_.empty()) {
    discard(file_system_, directory_);
  }
}

Result<std::unique_ptr<Publication>> Publication::begin(FileSystem& file_system,
                                                        const std::string& target, bool replace) {
  SplitPath split = split_path(target);
  if (split.name.empty()) {
    return Error{Errc::kInvalidArgument, 0, "'" + target + "' is no name for a snapshot"};
  }
  auto parent = file_system.canonical_path(split.parent);
  if (!parent) {
    return std::move(parent).error().with_context("directory of '" + target + "'");
  }
  std::string path = join_path(*parent, split.name);
  STASIS_TRY(check_target(file_system, path, replace));
  // An existing target may be a symbolic link: what it names is replaced, not the link.
  STASIS_ASSIGN(const auto existing, file_system.status(path));
  if (existing) {
    STASIS_ASSIGN(path, file_system.canonical_path(path));
    split = split_path(path);
    *parent = split.parent;
  }
  remove_stale_temporaries(file_system, *parent, split.name);
  // Tried again if another saver's cleaning took our new directory before it was locked.
  for (int attempt = 0;; ++attempt) {
    const std::string random = to_string(random_snapshot_id()).substr(0, 16);
    const std::string directory = join_path(*parent, temporary_prefix(split.name) + random);
    auto lock = file_system.create_directory(directory);
    if (lock) {
      return std::unique_ptr<Publication>(new Publication(file_system, std::move(path), *parent,
                                                          directory, *std::move(lock), replace));
    }
    if (lock.error().code != Errc::kAlreadyExists || attempt == 16) {
      return std::move(lock).error();
    }
  }
}

Result<std::unique_ptr<WritableFile>> Publication::create_file(std::string_view name) {
  return file_system_.create_file(join_path(directory_, name));
}

// True if the old snapshot now stands where the new one was made.
Result<bool> Publication::move_into_place() {
  auto renamed = file_system_.rename(directory_, target_);
  if (renamed) {
    return false;
  }
  if (renamed.error().code != Errc::kAlreadyExists) {
    return std::move(renamed).error();
  }
  // Looked at again: something may have appeared there since begin().
  STASIS_TRY(check_target(file_system_, target_, replace_));
  STASIS_TRY(file_system_.exchange(directory_, target_));
  return true;
}

Result<std::string> Publication::publish(bool sync) {
  if (sync) {
    STASIS_TRY(file_system_.sync_directory(directory_));
  }
  STASIS_ASSIGN(const bool exchanged, move_into_place());
  std::string old = std::exchange(directory_, "");
  if (sync) {
    if (auto synced = file_system_.sync_directory(parent_); !synced) {
      // The old snapshot, if any, stays beside it: after a crash either may be the one that counts.
      return std::move(synced).error().with_context(
          "'" + target_ + "' is in place, but may not survive a crash of the host");
    }
  }
  return exchanged ? old : std::string();
}

Result<std::string> withdraw(FileSystem& file_system, const std::string& target) {
  STASIS_ASSIGN(const std::string path, file_system.canonical_path(target));
  STASIS_TRY(check_target(file_system, path, true));
  const SplitPath split = split_path(path);
  std::string hidden = join_path(
      split.parent, temporary_prefix(split.name) + to_string(random_snapshot_id()).substr(0, 16));
  STASIS_TRY(file_system.rename(path, hidden));
  return hidden;
}

std::vector<std::string> leftovers_in(FileSystem& file_system, const std::string& directory) {
  std::vector<std::string> found;
  for_each_ownerless(file_system, directory, ".",
                     [&](const std::string& path) { found.push_back(path); });
  return found;
}

void discard(FileSystem& file_system, const std::string& directory) {
  const auto names = file_system.list_directory(directory);
  if (!names) {
    return;
  }
  for (const std::string& name : *names) {
    static_cast<void>(file_system.remove_file(join_path(directory, name)).has_value());
  }
  static_cast<void>(file_system.remove_directory(directory).has_value());
}

}  // namespace stasis::snapshot::internal
