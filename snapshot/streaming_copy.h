// Copying past the caches, with the vectors that the including file is compiled for. Plain C, for
// the reason in checksum_kernels.h.
//
// A restore writes more than any cache holds, to memory that nobody has read since the kernel
// cleared it. An ordinary store first fetches the line that it is about to overwrite; a streaming
// store does not (AMD APM vol. 1, 3.9.2 "Cache Operation", Intel SDM vol. 1, 10.4.6.2), which
// leaves two thirds of the traffic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// NOLINTBEGIN(misc-definitions-in-headers): see checksum_kernels_code.h.
namespace stasis::snapshot::internal {
namespace {

constexpr std::size_t kLineBytes = 64;

#if defined(__AVX512F__)
inline void stream_line(char* to, const char* from) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
}
#elif defined(__AVX2__)
inline void stream_line(char* to, const char* from) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), low);
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), high);
}
#elif defined(__SSE2__)
inline void stream_line(char* to, const char* from) {
  for (std::size_t i = 0; i < kLineBytes; i += 16) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), part);
  }
}
#else
inline void stream_line(char* to, const char* from) {
  std::memcpy(to, from, kLineBytes);
}
#endif

// Whether stream() may be given these: whole lines, to where lines begin.
inline bool can_stream(const void* to, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(to) % kLineBytes == 0 && bytes % kLineBytes == 0;
}

inline void stream(char* to, const char* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += kLineBytes) {
    stream_line(to + i, from + i);
  }
}

// Streaming stores are ordered by nothing else: after the last, before another thread may look.
inline void end_stream() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
}  // namespace stasis::snapshot::internal
// NOLINTEND(misc-definitions-in-headers)
