// Files that no disk holds: what the kernel itself shows below /dev, /proc, /sys and /etc.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

// What one of them is. Value.
struct SyntheticEntry {
  std::uint32_t mode = 0;  // S_IFREG, S_IFLNK, S_IFCHR or S_IFDIR, with permissions.
  std::function<std::string()> text = {};                     // Content, or the target of a link.
  std::function<std::shared_ptr<File>(int flags)> open = {};  // Of a device.
  std::uint64_t special_device = 0;
  bool yields_to_host = false;  // A file of the allow-list goes first.
};

using SyntheticTree = std::map<std::string, SyntheticEntry>;  // By absolute path.

}  // namespace stasis::linux_guest
