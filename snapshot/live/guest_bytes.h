// Reading guest memory while others may write beside what is read. Private to snapshot/live/.
//
// Nobody writes the pages that are read: they are protected until they have been read. But what
// orders the reading before the writes that follow is the page table, of which ThreadSanitizer
// knows nothing; under it, therefore, they are read by relaxed atomic accesses.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#if defined(__SANITIZE_THREAD__)
#define STASIS_LIVE_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STASIS_LIVE_UNDER_TSAN 1
#endif
#endif

namespace stasis::snapshot::internal {

// Both are whole pages, and as long.
inline void copy_guest_bytes(std::span<std::byte> out, const std::byte* from) {
#ifdef STASIS_LIVE_UNDER_TSAN
  for (std::size_t at = 0; at < out.size(); at += sizeof(std::uint64_t)) {
    // NOLINTNEXTLINE(*-reinterpret-cast,*-const-cast): atomic_ref of C++20 wants it mutable.
    auto* const word =
        const_cast<std::uint64_t*>(reinterpret_cast<const std::uint64_t*>(from + at));
    const std::uint64_t value =
        std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
    std::memcpy(out.data() + at, &value, sizeof(value));
  }
#else
  std::memcpy(out.data(), from, out.size());
#endif
}

}  // namespace stasis::snapshot::internal
