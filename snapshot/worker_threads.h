// One function on several threads. Private to snapshot/.
#pragma once

#include <cstdint>
#include <functional>

namespace stasis::snapshot::internal {

inline constexpr std::uint32_t kThreadsMax = 64;

// Calls `work` on `threads` threads (1 .. kThreadsMax), one of which is the caller's, and returns
// when all calls have. If the host gives fewer threads, fewer calls are made, but at least one: the
// calls share their work out among themselves.
void run_on_threads(std::uint32_t threads, const std::function<void()>& work);

}  // namespace stasis::snapshot::internal
