// How one region of guest RAM is mapped into the host process. Private to core/: the only place
// that calls mmap() and madvise(), and the only one that differs between host systems.
#pragma once

#include <vector>

#include "core/guest_memory.h"

namespace stasis::internal {

inline constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20;

std::uint64_t host_page_size_bytes();

// Maps `spec`, which must be valid. The caller releases it with unmap_region().
Result<MemoryRegion> map_region(const RegionSpec& spec);
void unmap_region(const MemoryRegion& region) noexcept;

// Replace the `size` bytes at `offset` of a mapped region (all valid and page multiples).
Result<void> map_file_over(const MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                           FileSource file);
Result<void> map_zero_over(const MemoryRegion& region, std::uint64_t offset, std::uint64_t size);

// kOutOfRange unless `size` bytes at `file.offset` exist (a mapping beyond the end of a file kills
// the process with SIGBUS when it is touched).
Result<void> check_file_covers(FileSource file, std::uint64_t size);

// Notes that `size_bytes` of `file` are being mapped: a new entry of `files`, with a descriptor of
// its own, or more of one that is there. Devices are not noted: they have no length.
Result<void> remember_length(FileSource file, std::uint64_t size_bytes,
                             std::vector<MappedFile>& files);
// kIo with both lengths if the file is shorter now than what is mapped of it.
Result<void> check_length(const MappedFile& file);

}  // namespace stasis::internal
