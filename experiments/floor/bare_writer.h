// A guest that does nothing but write to pages, on bare KVM: what the floors of dirty tracking are
// measured with. The kernel's own logs of dirty pages are offered as the raw requests that they
// are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/result.h"

namespace stasis::experiments {

// The kernel's logs. Manual: pages are protected again by a request of its own.
enum class KernelLog : std::uint8_t { kNone, kBitmap, kManual, kRing };

// Resource. One thread.
class BareWriter {
 public:
  // Pages from here on may be written to; before them are the guest's own.
  static constexpr std::uint64_t kFirstPage = 512;
  // At most so many pages in one write().
  static constexpr std::size_t kPagesMax = 65536;

  // `memory` becomes the guest's RAM: a multiple of 2 MiB from 4 MiB on, and must outlive this.
  // kNotSupported without usable KVM or without that log; kBackend names the request that failed.
  static Result<std::unique_ptr<BareWriter>> create(std::span<std::byte> memory, KernelLog log);
  virtual ~BareWriter() = default;

  // Adds 1 to the first word of each page of 4 KiB, in this order, in one entry into the guest
  // (more if a ring is full). Returns how long that took by the guest's time-stamp counter, in its
  // cycles.
  virtual Result<std::uint64_t> write(std::span<const std::uint64_t> pages) = 0;

  // From now on the kernel logs which pages the guest writes to. kInvalidArgument for kNone.
  virtual Result<void> start_log() = 0;
  // How many pages were logged since start_log() or the last call; they are protected again.
  virtual Result<std::uint64_t> collect_log() = 0;
};

}  // namespace stasis::experiments
