// Atomic accesses to guest memory, whose page may be missing or protected. Private to core/ and
// the mock, whose CPU makes them.
//
// Such an access sleeps until another thread answers the fault. ThreadSanitizer's runtime executes
// an acquiring or releasing access while it holds a lock of its own, and takes the locks of all
// threads when its counters overflow; then the thread that should answer waits for the one that
// waits for the answer. Under it, therefore, the runtime is told of the order in a call that does
// not touch the memory, and the access itself is relaxed, for which it holds no lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define STASIS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STASIS_THREAD_SANITIZER 1
#endif
#endif

#ifdef STASIS_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace stasis::internal {

#ifdef STASIS_THREAD_SANITIZER

inline constexpr std::memory_order kAcquire = std::memory_order_relaxed;
inline constexpr std::memory_order kRelease = std::memory_order_relaxed;
inline constexpr std::memory_order kSequential = std::memory_order_relaxed;

// The fences are for the processor; the runtime does not know them.
inline void before_release(std::byte* host) {
  __tsan_release(host);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void after_acquire(std::byte* host) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  __tsan_acquire(host);
}

#else

inline constexpr std::memory_order kAcquire = std::memory_order_acquire;
inline constexpr std::memory_order kRelease = std::memory_order_release;
inline constexpr std::memory_order kSequential = std::memory_order_seq_cst;

inline void before_release(std::byte* /*host*/) {}
inline void after_acquire(std::byte* /*host*/) {}

#endif

// The host bytes as an atomic T. GuestMemory maps whole pages, so an aligned guest address is an
// aligned host address; the bytes hold no other object.
template <typename T>
std::atomic_ref<T> atomic_at(std::byte* host) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  return std::atomic_ref<T>(*reinterpret_cast<T*>(host));
}

template <typename T>
T load_acquire(std::byte* host) {
  const T value = atomic_at<T>(host).load(kAcquire);
  after_acquire(host);
  return value;
}

template <typename T>
void store_release(std::byte* host, T value) {
  before_release(host);
  atomic_at<T>(host).store(value, kRelease);
}

// Sequentially consistent; returns the value before.
inline std::uint64_t fetch_add(std::byte* host, std::uint64_t addend) {
  before_release(host);
  const std::uint64_t before = atomic_at<std::uint64_t>(host).fetch_add(addend, kSequential);
  after_acquire(host);
  return before;
}

// As above; stores `desired` if the value was `expected`.
inline std::uint64_t compare_exchange(std::byte* host, std::uint64_t expected,
                                      std::uint64_t desired) {
  before_release(host);
  atomic_at<std::uint64_t>(host).compare_exchange_strong(expected, desired, kSequential);
  after_acquire(host);
  return expected;
}

}  // namespace stasis::internal
