// Where a Linux guest's few privileged structures live. docs/linux-guests.md, "Memory".
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/address.h"
#include "guests/linux/address_space.h"

namespace stasis::linux_guest::vm::layout {

// ---- Guest-physical ----
inline constexpr std::uint64_t kGdt = 0x1000;
inline constexpr std::uint64_t kIdt = 0x2000;
inline constexpr std::uint64_t kTss = 0x3000;
inline constexpr std::uint64_t kKernelStubs = 0x4000;  // Ring 0: exceptions, and the rewriter.
inline constexpr std::uint64_t kUserStubs = 0x5000;    // Ring 3: system calls, and waiting.
inline constexpr std::uint64_t kStackTop = 0x8000;     // TSS.RSP0; two pages below it.
inline constexpr std::uint64_t kRewriteList = 0x8000;  // What the rewriter is to do.
inline constexpr std::uint64_t kRewriteListEnd = 0x10000;
inline constexpr std::uint64_t kRootTable = 0x10000;  // PML4.
inline constexpr std::uint64_t kTables = 0x100000;    // A pool of page tables, see table_bytes().

// ---- Virtual ----
// Everything above, supervisor only, at gpa + kKernelBase.
inline constexpr std::uint64_t kKernelBase = 0xffff'8000'0000'0000;
// kUserStubs, for ring 3 to execute: the page that Linux keeps empty at the end of user space.
inline constexpr std::uint64_t kUserStubsPage = kUserSpaceEnd;
inline constexpr std::uint64_t kSyscallEntry = kUserStubsPage;       // LSTAR.
inline constexpr std::uint64_t kWaitEntry = kUserStubsPage + 0x100;  // rdtsc, then kPortWait.
inline constexpr std::uint64_t kRewriteEntry = kKernelBase + kKernelStubs + 0x400;

// ---- Ports ----
// One device: exception vector n, then the others. Ring 3 may use kPortSyscall and kPortWait.
inline constexpr std::uint64_t kPortBase = 0xc0;
inline constexpr std::uint64_t kVectors = 32;
inline constexpr std::uint64_t kPortSyscall = kPortBase + kVectors;
inline constexpr std::uint64_t kPortWait = kPortSyscall + 1;
inline constexpr std::uint64_t kPortRewritten =
    kPortSyscall + 8;  // Not in ring 3's byte of the bitmap.
inline constexpr std::uint64_t kPorts = kVectors + 9;

inline constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;
inline constexpr std::uint64_t kMemoryBytesMin = std::uint64_t{16} << 20U;

// How much of `memory_bytes` is set aside for page tables: four times what mapping all of it
// densely takes, but it stays below 25 MiB, so that a restored guest can run while RAM above the
// first 32 MiB is still being registered (decision 0008).
constexpr std::uint64_t table_bytes(std::uint64_t memory_bytes) {
  const std::uint64_t pages = memory_bytes / kPageBytes / 128;
  return std::clamp<std::uint64_t>(pages, 512, 6144) * kPageBytes;
}
// Frames of the process begin here.
constexpr std::uint64_t tables_end(std::uint64_t memory_bytes) {
  return align_up(kTables + table_bytes(memory_bytes), kHugePageBytes);
}

}  // namespace stasis::linux_guest::vm::layout
