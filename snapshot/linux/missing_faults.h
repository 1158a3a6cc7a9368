// Linux userfaultfd(2), the part that reports touches of missing pages and puts pages in their
// place. Sources: userfaultfd(2), ioctl_userfaultfd(2), the kernel's
// Documentation/admin-guide/mm/userfaultfd.rst; of UFFDIO_MOVE, which is newer than the headers of
// some distributions, include/uapi/linux/userfaultfd.h of Linux 6.8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis::snapshot::internal {

// What the running kernel offers to this process. Value.
struct MissingFaultFeatures {
  bool shared = false;  // Of memfd, too (Linux 4.11).
  bool move = false;    // MissingFaults::move() (6.8).
  friend bool operator==(const MissingFaultFeatures&, const MissingFaultFeatures&) = default;
};

// kNotSupported or kIo (os_error EPERM: not permitted; the message names the cure).
Result<MissingFaultFeatures> query_missing_faults();

// A touch that waits until its page is there. Value.
struct MissingFault {
  std::byte* page = nullptr;  // Begin of a page of the host.
  bool is_write = false;
};

// One descriptor. Thread-safe: every call is one ioctl or read, repeated where the kernel asks for
// it. Ranges are whole pages of the host inside one mapping.
//
// Faults of the kernel on behalf of the process (KVM, read(2) into guest memory) are reported as
// well as those of its own threads: a thread that answers must never touch registered memory.
class MissingFaults {
 public:
  static Result<MissingFaults> open();

  // kNotSupported if what is mapped there cannot have missing pages.
  Result<void> register_range(std::span<std::byte> range);
  // What is missing reads zero from now on; wakes everybody who waits.
  Result<void> unregister_range(std::span<std::byte> range);

  // The oldest fault that nobody has read yet; nothing if there is none. Never blocks: poll() on
  // fd() first.
  Result<std::optional<MissingFault>> read_fault();

  // Put pages into `to` and wake who waits for them. Pages that are there already stay as they are.
  // Nothing happens to a range that is not registered (any more).
  Result<void> copy(std::span<std::byte> to, const std::byte* from);
  Result<void> zero(std::span<std::byte> to);
  // Takes the pages of `from`, whole pages of private anonymous memory of this process that nobody
  // else uses, as many bytes; afterwards `from` reads zero. kNotSupported where the kernel cannot.
  Result<void> move(std::span<std::byte> to, std::byte* from);

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit MissingFaults(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> wake(std::span<std::byte> range);
  template <typename Place>
  Result<void> place(std::span<std::byte> to, std::string_view what, Place place_some);
  UniqueFd fd_;
};

}  // namespace stasis::snapshot::internal
