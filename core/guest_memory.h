// Guest RAM: host mappings with an explicit backing, and the record of what the host wrote to them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/address.h"
#include "core/file_loss_guard.h"
#include "core/host_write_guard.h"
#include "core/host_write_log.h"
#include "core/page_provider.h"
#include "core/populate.h"
#include "core/ranges.h"
#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis {

// What the host keeps behind a region of guest RAM. It decides which dirty trackers and restore
// policies can work on it, so it is data and never implied.
enum class BackingKind : std::uint8_t {
  kAnonymous,    // mmap(MAP_PRIVATE | MAP_ANONYMOUS): zero until written.
  kMemfd,        // A shared memfd of this process: can be mapped twice.
  kPrivateFile,  // MAP_PRIVATE of a file: reads come from the page cache, writes are copied.
  kSharedFile,   // MAP_SHARED of a file: writes reach the file.
};
std::string_view name_of(BackingKind kind);

enum class HugePages : std::uint8_t {
  kNever,        // MADV_NOHUGEPAGE.
  kTransparent,  // 2 MiB aligned mapping and MADV_HUGEPAGE; the host may still use small pages.
  kHugetlb,      // MAP_HUGETLB: creation fails where the host has no free huge pages.
};
std::string_view name_of(HugePages huge_pages);

// A borrowed file for kPrivateFile and kSharedFile. The descriptor must stay open only until
// create() or overlay_file() returns; the mapping keeps the file alive.
struct FileSource {
  int fd = -1;
  std::uint64_t offset = 0;  // Multiple of the host page size.
};

struct RegionSpec {
  GpaRange range;  // Multiple of the page size, not empty.
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kTransparent;
  FileSource file = {};  // Only for the file backings.
};

// One contiguous piece of guest RAM as it exists. Value; valid while the GuestMemory lives.
struct MemoryRegion {
  GpaRange range;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kTransparent;
  // range.size bytes. Page-aligned, and unless huge_pages is kNever congruent to range.begin modulo
  // 2 MiB, so that the hypervisor can map a huge host page as a huge guest page.
  std::byte* host = nullptr;
  int memfd = -1;  // Borrowed; only for kMemfd.
};

namespace internal {
// A file that is mapped somewhere, and how long it has to stay.
struct MappedFile {
  UniqueFd fd;
  std::uint64_t device = 0, inode = 0;
  std::uint64_t size_bytes = 0;
};
}  // namespace internal

// All RAM of one VM: disjoint regions in address order, holes between them allowed.
//
// Threads: regions never change after create(), so lookups are safe from any thread. The *bytes*
// may be written by a running guest at any time; whoever needs a consistent view pauses the
// Machine. replace_* calls need every vCPU out of the guest.
class GuestMemory {
 public:
  // Page size in bytes, a power of two: the granularity of regions, trackers and extents (4096 or
  // 16384). Errors: kInvalidArgument (empty, overlapping, unaligned, wrapping ranges; file backing
  // without descriptor), kIo (the host refused the mapping; the message names the range).
  static Result<std::unique_ptr<GuestMemory>> create(std::span<const RegionSpec> specs,
                                                     std::uint64_t page_size_bytes);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  GuestMemory(GuestMemory&&) = delete;
  GuestMemory& operator=(GuestMemory&&) = delete;

  [[nodiscard]] std::span<const MemoryRegion> regions() const noexcept { return regions_; }
  [[nodiscard]] std::uint64_t page_size_bytes() const noexcept { return page_size_bytes_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }  // Without holes.
  [[nodiscard]] GpaRanges ranges() const;

  // The bytes of `range`, which must lie inside one region; else kOutOfRange. `range` may come from
  // a hostile guest. Writing through writable_view() is NOT recorded as a host write: it is for the
  // loader and the Restorer, which run before any tracker is armed, and for backends.
  [[nodiscard]] Result<std::span<const std::byte>> view(GpaRange range) const;
  [[nodiscard]] Result<std::span<std::byte>> writable_view(GpaRange range);

  // Copies; a copy may cross from one region into an adjacent one. kOutOfRange if any byte is not
  // RAM; as check_intact() after the copy.
  Result<void> read(Gpa gpa, std::span<std::byte> out) const;
  // Copies and records the pages in host_writes(). All writes of devices and of the host to a VM
  // that may be tracked go through here.
  Result<void> write(Gpa gpa, std::span<const std::byte> bytes);

  // One atomic store of eight bytes with release semantics, recorded as a host write: a guest that
  // loads the value with acquire semantics sees all that was written before. kInvalidArgument
  // unless `gpa` is a multiple of 8; otherwise as write().
  Result<void> store_release(Gpa gpa, std::uint64_t value);

  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<T> read_object(Gpa gpa)
  const {
    std::array<std::byte, sizeof(T)> bytes{};
    STASIS_TRY(read(gpa, bytes));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  template <typename T>
  requires std::is_trivially_copyable_v<T> Result<void> write_object(Gpa gpa, const T& value) {
    return write(gpa, std::as_bytes(std::span(&value, 1)));
  }

  // Whether every byte that was touched is what it should be: its file's, or what the page provider
  // brought in. A file behind a region that is cut
  // short while the memory is in use loses pages; they read zero from then on and this fails (kIo)
  // for ever: nothing that was seen in this memory means anything. Whoever reads through view()
  // asks when it is done. Costs next to nothing. Thread-safe.
  [[nodiscard]] Result<void> check_intact() const;
  // As check_intact(), and asks the host whether every file is still as long as it was when it was
  // mapped: a system call a file. Sees also what nobody has touched, and the rest of a page that a
  // file ends in, which reads zero without a signal. Thread-safe.
  [[nodiscard]] Result<void> check_files() const;

  // `provider` serves pages of this memory from now on, and lives as long: ended before the memory
  // goes. Once, before any vCPU exists.
  void attach(std::unique_ptr<PageProvider> provider);
  // As those of the provider; nothing to do, and nobody to be told, without one.
  Result<void> provide_all();
  void on_failure(std::function<void()> called);

  [[nodiscard]] HostWriteLog& host_writes() noexcept { return host_writes_; }

  // `guard` is asked before each write() from now on. One at a time: kInvalidArgument if there is
  // another. No write() may be under way (pause the Machine). Borrowed until it is removed.
  Result<void> set_write_guard(HostWriteGuard& guard);
  // Returns when nobody is inside the guard any more, which must not wait then. Any thread, at any
  // time; nothing to do if there is none.
  void remove_write_guard() noexcept;

  // Replaces the pages of `range` (inside one region, page multiple) by a private mapping of the
  // file: reads see the file, writes are copied. The mechanism of lazy restore. The guest's view
  // changes at once, so no vCPU may be in the guest. Needs a kAnonymous or kPrivateFile region.
  Result<void> overlay_file(GpaRange range, FileSource file);
  // Replaces the pages of `range` by fresh zero pages. Same preconditions; any backing but
  // kSharedFile.
  Result<void> replace_with_zero(GpaRange range);

  // Brings `piece` into this process; only time depends on it (core/populate.h). Guests may run
  // meanwhile, but no tracker may be armed: it could take the pages for written ones. kOutOfRange
  // for what is not whole pages of the host inside one region.
  Result<void> populate(const PopulatePiece& piece);

 private:
  GuestMemory(std::vector<MemoryRegion> regions, std::uint64_t page_size_bytes);
  // Before `size_bytes` of `file` are mapped into this region.
  Result<void> guard(const MemoryRegion& region, FileSource file, std::uint64_t size_bytes);
  [[nodiscard]] const MemoryRegion* find(Gpa gpa) const noexcept;
  // What write() and store_release() have in common; as for_each_piece().
  template <typename Visit>
  Result<void> write_pieces(GpaRange range, Visit visit);
  void ask_write_guard(GpaRange range);
  [[nodiscard]] Result<const MemoryRegion*> replaceable(GpaRange range) const;
  // Visits the host bytes of `range` in address order, or none of them.
  template <typename Visit>
  Result<void> for_each_piece(GpaRange range, Visit visit) const;

  // Constant after construction.
  std::vector<MemoryRegion> regions_;
  std::uint64_t page_size_bytes_;
  std::uint64_t size_bytes_;
  // One a region; watching those that map files.
  std::deque<FileLossGuard> guards_;
  std::vector<internal::MappedFile> files_;  // Changes with the mappings: no vCPU is in the guest.
  // Thread-safe.
  HostWriteLog host_writes_;
  // Whoever asks the guard counts himself first and reads the pointer then; whoever removes it
  // writes the pointer first and reads the count then. Sequentially consistent, for that.
  std::atomic<HostWriteGuard*> write_guard_ = nullptr;
  std::atomic<std::uint32_t> guard_callers_ = 0;
  std::unique_ptr<PageProvider> provider_;  // Constant after attach().
};

}  // namespace stasis
