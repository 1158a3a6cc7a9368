#include "snapshot/checksum.h"

#include <cstring>

#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#define _Bool bool  // NOLINT: the header is for C; clang's strict C++ does not know the name.
#include <sys/platform/x86.h>
#undef _Bool
#define STASIS_KNOWS_CPU 1
#else
#define STASIS_KNOWS_CPU 0
#endif

#include "snapshot/checksum_kernels.h"

namespace stasis::snapshot {
namespace {

using internal::ChecksumKernels;

// With AVX2 or AVX-512 XXH3 is twice as fast as with the SSE2 that every x86-64 has. What the C
// library knows of the processor is asked: CPUID traps where there is a hypervisor below, and takes
// tens of microseconds.
const ChecksumKernels& widest_kernels() {
#if STASIS_KNOWS_CPU
  if (CPU_FEATURE_ACTIVE(AVX512F)) {
    return internal::kChecksumKernelsAvx512;
  }
  if (CPU_FEATURE_ACTIVE(AVX2)) {
    return internal::kChecksumKernelsAvx2;
  }
#endif
  return internal::kChecksumKernels;
}

// Below it nothing is gained: the copy is in the cache, and what is checked is small.
constexpr std::size_t kLargeBytesMin = std::size_t{16} << 10U;

const ChecksumKernels& kernels_for(std::span<const std::byte> bytes) {
  return bytes.size() >= kLargeBytesMin ? widest_kernels() : internal::kChecksumKernels;
}

}  // namespace

std::uint64_t chunk_checksum(std::span<const std::byte> raw, Gpa gpa) {
  return kernels_for(raw).hash64(raw.data(), raw.size(), gpa.value);
}

std::uint64_t copy_with_checksum(std::span<const std::byte> raw, Gpa gpa, std::byte* out,
                                 CopyTo to) {
  if (raw.size() < kLargeBytesMin) {
    std::memcpy(out, raw.data(), raw.size());
    return chunk_checksum(raw, gpa);
  }
  const ChecksumKernels& kernels = widest_kernels();
  return to == CopyTo::kMemory ? kernels.stream64(raw.data(), raw.size(), gpa.value, out)
                               : kernels.copy64(raw.data(), raw.size(), gpa.value, out);
}

void copy_to_memory(std::span<const std::byte> raw, std::byte* out) {
  if (raw.size() < kLargeBytesMin) {
    std::memcpy(out, raw.data(), raw.size());
  } else {
    widest_kernels().stream(raw.data(), raw.size(), out);
  }
}

std::array<std::uint64_t, 2> wide_checksum(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, 2> result = {};
  kernels_for(bytes).hash128(bytes.data(), bytes.size(), &result[0], &result[1]);
  return result;
}

}  // namespace stasis::snapshot
