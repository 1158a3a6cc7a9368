// Opening a path without ever leaving a folder and without following a link.
#pragma once

#include <string>

#include "core/unique_fd.h"
#include "guests/linux/kernel/sys_or.h"

namespace stasis::linux_guest {

// `path` relative to the folder `root`, "" for itself; ELOOP if there is a link on the way (the
// last component may be one with O_PATH). openat2(2) where the host has it, else component by
// component.
[[nodiscard]] SysOr<UniqueFd> open_beneath(int root, const std::string& path, int flags);
// The way without openat2(2), for its tests.
[[nodiscard]] SysOr<UniqueFd> open_beneath_by_walking(int root, const std::string& path, int flags);

}  // namespace stasis::linux_guest
