// Linux userfaultfd(2), the part that write-protects memory: with missing_faults.h the only place
// of this project that knows its ioctls. Sources: userfaultfd(2), ioctl_userfaultfd(2), the
// kernel's Documentation/admin-guide/mm/userfaultfd.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis::snapshot::internal {

// What the running kernel offers to this process. Value.
struct UserfaultfdFeatures {
  bool write_protect = false;              // Anonymous memory (Linux 5.7).
  bool write_protect_shared = false;       // memfd and hugetlb (5.19).
  bool write_protect_unpopulated = false;  // Anonymous pages that do not exist yet (6.4).
  bool write_protect_let_through = false;  // WriteFaults::kLetThrough, any kind of memory (6.7).
  friend bool operator==(const UserfaultfdFeatures&, const UserfaultfdFeatures&) = default;
};

// Who answers the write faults of protected memory.
enum class WriteFaults : std::uint8_t {
  kReported,    // The faulting thread sleeps until a reader of this descriptor answers.
  kLetThrough,  // The kernel takes the protection away, which Pagemap::take_written() can see. It
                // needs no permission: nobody is ever made to wait.
};

// What the kernel says when asked; kNotSupported or kIo (os_error EPERM: not permitted; the message
// names the cure).
Result<UserfaultfdFeatures> query_userfaultfd(WriteFaults faults = WriteFaults::kReported);

// For missing_faults.h: all features that the kernel offers (UFFD_FEATURE_*), and a descriptor that
// is enabled for some of them and reports faults inside the kernel, too. Errors as above.
Result<std::uint64_t> offered_userfaultfd_features();
Result<UniqueFd> open_userfaultfd(std::uint64_t features);

// One descriptor, enabled for write-protect events. Thread-safe: every call is one ioctl or read.
//
// Faults of the kernel on behalf of the process (KVM, read(2) into guest memory) are reported as
// well as those of its own threads, and the faulting thread sleeps until its page is writable
// again: a thread that answers events must therefore never write to protected memory.
class Userfaultfd {
 public:
  // `features` as query_userfaultfd(faults) returned them.
  static Result<Userfaultfd> open(const UserfaultfdFeatures& features,
                                  WriteFaults faults = WriteFaults::kReported);

  // Page-multiple pieces of mappings of this process. kNotSupported if what is mapped there cannot
  // be write-protected: a file mapped privately, for one, unless writes are let through.
  Result<void> register_range(std::span<std::byte> range);
  // Removes every protection of the range, too, and wakes whoever waits for it.
  Result<void> unregister_range(std::span<std::byte> range);
  Result<void> protect(std::span<std::byte> range);
  // Wakes every thread that waits for a page of the range.
  Result<void> unprotect(std::span<std::byte> range);

  // The addresses of the write faults that wait for an answer; empty when there are none. Never
  // blocks: poll() on fd() first.
  Result<std::vector<std::byte*>> read_faults();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit Userfaultfd(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> change_protection(std::span<std::byte> range, std::uint64_t mode);
  UniqueFd fd_;
};

}  // namespace stasis::snapshot::internal
