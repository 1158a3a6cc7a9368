// How much memory this process uses and has used at most.
#pragma once

#include <cstdint>

namespace stasis::experiments {

// Value. Zeros where /proc is absent.
struct ProcessMemory {
  std::uint64_t resident_bytes = 0;       // VmRSS
  std::uint64_t peak_resident_bytes = 0;  // VmHWM: since the start or the last reset.
};
ProcessMemory process_memory();

// The peak is from now on measured afresh. False where the kernel cannot (then the peak is that of
// the whole life of the process).
bool reset_peak_memory();

// Bytes that this process has read from storage, not from the page cache.
std::uint64_t storage_read_bytes();

}  // namespace stasis::experiments
