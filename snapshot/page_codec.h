// LZ4 blocks of at most 2 MiB.
#pragma once

#include <cstddef>
#include <span>

#include "core/result.h"

namespace stasis::snapshot {

// Compresses `raw` into `out`, which must be at least raw.size() - 1 bytes. Returns the bytes used,
// 0 if the block would not be smaller than `raw` (store it raw then).
std::size_t compress_chunk(std::span<const std::byte> raw, std::span<std::byte> out);

// Fills `out` wholly from one block. kCorruption if the block is damaged or has another size.
// Safe for any bytes.
Result<void> decompress_chunk(std::span<const std::byte> stored, std::span<std::byte> out);

}  // namespace stasis::snapshot
