// The host's files that the guest may read: those on the allow-list and below. The one place of the
// kernel that opens anything on the host. No path leaves its entry of the list, whatever links are
// put in the way while it is opened.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/unique_fd.h"
#include "guests/linux/files/file.h"
#include "guests/linux/kernel/sys_or.h"

namespace stasis::linux_guest {

// Resource; immutable.
class HostTree {
 public:
  // `allowed`: absolute paths without links; files or folders that exist. kInvalidArgument, kIo.
  static Result<std::unique_ptr<HostTree>> open(const std::vector<std::string>& allowed);

  [[nodiscard]] bool covers(std::string_view path) const;  // On the list or below.
  // By an entry that lies below `above`: "/" as an entry does not show through a mount.
  [[nodiscard]] bool covers_within(std::string_view path, std::string_view above) const;
  [[nodiscard]] bool leads_to(std::string_view path) const;  // Above an entry of the list.
  [[nodiscard]] std::vector<std::string> names_below(std::string_view path) const;  // Then.

  // `path` is canonical and covered. A link is opened itself (O_PATH), not what it points to.
  [[nodiscard]] SysOr<FileStat> stat(const std::string& path) const;
  [[nodiscard]] SysOr<std::string> read_link(const std::string& path) const;
  [[nodiscard]] SysOr<std::vector<DirectoryEntry>> list(const std::string& path) const;
  // A regular file, for reading; EACCES for anything that is neither that nor a folder.
  [[nodiscard]] SysOr<std::shared_ptr<const UniqueFd>> open_file(const std::string& path) const;

 private:
  struct Root {
    std::string path;
    UniqueFd descriptor;  // O_PATH
  };
  explicit HostTree(std::vector<Root> roots) : roots_(std::move(roots)) {}
  [[nodiscard]] SysOr<std::shared_ptr<const UniqueFd>> open_beneath(const std::string& path,
                                                                    int flags) const;
  std::vector<Root> roots_;  // Longest path first.
};

// Of an open descriptor of the host.
[[nodiscard]] SysOr<FileStat> stat_of(int descriptor);
// Whether `path` is `parent` or below it.
[[nodiscard]] bool is_below(std::string_view path, std::string_view parent);

}  // namespace stasis::linux_guest
