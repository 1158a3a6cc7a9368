// A payload read around the page cache. Private to snapshot/restore/.
#pragma once

#include <memory>

#include "snapshot/file_system.h"

namespace stasis::snapshot::internal {

// Another way to the same file (O_DIRECT), whatever its name means now; null where the file, its
// file system or this host cannot. `file` must live as long.
std::unique_ptr<ReadableFile> open_direct(const ReadableFile& file);

}  // namespace stasis::snapshot::internal
