// What happens when a file is cut short while it is mapped. A touch of what it has lost raises
// SIGBUS (mmap(2)), which would kill the whole process, and with it every other guest. Under a
// guard the touch reads zeros instead, and the guard remembers that they are not the file's:
// whoever reads a guarded mapping asks check() before the bytes mean anything.
//
// The handler of a signal belongs to the process; it is installed with the first guard and passes
// on what it does not know.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace stasis {

// Resource, at a fixed address; guards nothing until watch(). check() may be called by any thread,
// the rest by one at a time.
class FileLossGuard {
 public:
  FileLossGuard() = default;
  ~FileLossGuard() { release(); }
  FileLossGuard(const FileLossGuard&) = delete;
  FileLossGuard& operator=(const FileLossGuard&) = delete;
  FileLossGuard(FileLossGuard&&) = delete;
  FileLossGuard& operator=(FileLossGuard&&) = delete;

  // Guards a mapping, or several beside one another, from now on: whole pages, which must stay
  // mapped until release(). What is lost is replaced by private zero pages, whatever the mappings
  // were; a stretch of up to 2 MiB around the touch, so that a large loss is not a million signals.
  // kIo if the host refuses the handler.
  Result<void> watch(std::byte* begin, std::size_t size_bytes);
  // Guards nothing any more. Call it before the mapping goes.
  void release() noexcept;

  [[nodiscard]] bool is_watching() const noexcept { return size_bytes_ != 0; }
  // kIo, "WHAT: ..." with the cause and a cure, if a touch since watch() has met lost bytes.
  [[nodiscard]] Result<void> check(std::string_view what) const;

  // For the handler: whether the touch was of this mapping, and is mended. Safe in a signal
  // handler.
  static bool mend(std::byte* touched) noexcept;

 private:
  // Constant while the guard is in the handler's list.
  std::byte* begin_ = nullptr;
  std::size_t size_bytes_ = 0;
  // Relaxed: set by the thread that touches, before its touch completes; whoever reads what another
  // thread has read has synchronised with it anyhow.
  std::atomic<bool> lost_ = false;
  FileLossGuard* next_ = nullptr;  // In the handler's list; under its lock.
};

}  // namespace stasis
