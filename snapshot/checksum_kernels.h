// The loops of XXH3, and of copying, for one width of vectors. Each is built with its own compiler
// options in a file that instantiates nothing else: a function of a header that was compiled there
// could end up in the whole program, on a processor that does not know its instructions. Private to
// checksum.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stasis::snapshot::internal {

// Constant. All give the same results.
struct ChecksumKernels {
  std::uint64_t (*hash64)(const void* data, std::size_t bytes, std::uint64_t seed);
  void (*hash128)(const void* data, std::size_t bytes, std::uint64_t* low, std::uint64_t* high);
  // hash64() of what it copies to `out`.
  std::uint64_t (*copy64)(const void* data, std::size_t bytes, std::uint64_t seed, void* out);
  // The same past the caches, and without a hash.
  std::uint64_t (*stream64)(const void* data, std::size_t bytes, std::uint64_t seed, void* out);
  void (*stream)(const void* data, std::size_t bytes, void* out);
};

extern const ChecksumKernels kChecksumKernels;  // For every processor of the architecture.
#if defined(__x86_64__)
extern const ChecksumKernels kChecksumKernelsAvx2;
extern const ChecksumKernels kChecksumKernelsAvx512;
#endif

}  // namespace stasis::snapshot::internal
