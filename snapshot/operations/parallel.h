// Spreads independent pieces of an operation over threads, with progress and cancellation. Private
// to snapshot/operations/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/result.h"
#include "snapshot/progress.h"

namespace stasis::snapshot::internal {

// Calls work(thread, index) for each index below `count`, each once, on up to `threads` threads
// (the caller's is one of them), in ascending order of starting. Returns the error of the lowest
// index that failed; after a failure or a cancellation no further piece is started. Tells
// `supervision` that sizes(index) more bytes are done after each piece, out of `total_bytes`.
Result<void> for_each_piece(
    std::size_t count, std::uint32_t threads, std::uint64_t total_bytes,
    const Supervision& supervision, const std::function<std::uint64_t(std::size_t index)>& sizes,
    const std::function<Result<void>(std::size_t thread, std::size_t index)>& work);

}  // namespace stasis::snapshot::internal
