// RAM as a toy CPU sees it: guest memory behind a table of page permissions, with a record of what
// the guest wrote.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/ranges.h"
#include "core/vcpu_exit.h"

namespace stasis::mock {

enum class Intent : std::uint8_t { kFetch, kRead, kWrite };

// What stands in the way of an access.
enum class Obstacle : std::uint8_t {
  kNone,
  kNotRam,          // All of it is outside RAM: an access to a device.
  kPartlyRam,       // Begins in RAM and ends outside, or the other way round.
  kMissing,         // A page has Access::kNone.
  kWriteProtected,  // A page may not be written.
  kNotExecutable,
};
struct Verdict {
  Obstacle obstacle = Obstacle::kNone;
  Gpa gpa;  // The first byte in the way.
};

// Threads: check(), load() and store() from any vCPU; set_access() while others run only if it
// takes nothing away. The other calls only while no vCPU runs.
class ToyMemory {
 public:
  ToyMemory(GuestMemory& memory, Access access);

  // Looks at every page of [gpa, gpa + size) in ascending order. size: 1..8.
  [[nodiscard]] Verdict check(Gpa gpa, std::uint64_t size, Intent intent) const;

  // After check() found no obstacle. Single-copy atomic where width is a power of two and gpa a
  // multiple of it, byte by byte otherwise, as on most real CPUs. Little-endian.
  [[nodiscard]] std::uint64_t load(Gpa gpa, std::uint8_t width_bytes) const;
  void store(Gpa gpa, std::uint8_t width_bytes, std::uint64_t value);
  // On the 8 bytes at the aligned `gpa`; sequentially consistent. Return the old value.
  std::uint64_t fetch_add(Gpa gpa, std::uint64_t addend);
  std::uint64_t compare_exchange(Gpa gpa, std::uint64_t expected, std::uint64_t desired);

  // `range` is a page multiple of RAM.
  [[nodiscard]] bool is_ram(GpaRange range) const;
  [[nodiscard]] bool would_take_away(GpaRange range, Access access) const;
  void set_access(GpaRange range, Access access);

  void start_dirty_log();
  void stop_dirty_log();
  GpaRanges collect_dirty_log();
  [[nodiscard]] bool is_logging() const { return logging_.load(std::memory_order_relaxed); }

 private:
  // Relaxed atomics: a vCPU that races with protect() sees the old or the new permission, and
  // pausing the Machine orders everything else.
  struct Page {
    std::atomic<Access> access = Access::kReadWriteExecute;
    std::atomic<bool> dirty = false;
  };
  struct Region {
    GpaRange range;
    std::byte* host = nullptr;
    std::unique_ptr<Page[]> pages;
  };
  [[nodiscard]] const Region* find(Gpa gpa) const;
  [[nodiscard]] Page* page_of(Gpa gpa) const;
  [[nodiscard]] std::byte* host_of(Gpa gpa) const;
  void mark_dirty(Gpa gpa, std::uint64_t size);

  std::vector<Region> regions_;
  std::uint64_t page_size_bytes_;
  std::atomic<bool> logging_ = false;
};

}  // namespace stasis::mock
