// Linux /proc/self/pagemap: what the page table says of this process's own memory. The only place
// of this project that knows its bits and its ioctl. Source of both: the kernel's
// Documentation/admin-guide/mm/pagemap.rst.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis::snapshot::internal {

// Pieces of mappings of this process, whole host pages, in address order. Value.
using HostRanges = std::vector<std::span<std::byte>>;

// Thread-safe: every call is a read or an ioctl.
class Pagemap {
 public:
  // Errors: kNotSupported (no /proc, or no such file in it), kIo.
  static Result<Pagemap> open();
  // Of a child of this process. The frames' numbers are the same in both.
  static Result<Pagemap> open_of(pid_t child);

  // Whether the kernel has the PAGEMAP_SCAN ioctl (Linux 6.7). kNotSupported says so.
  [[nodiscard]] Result<void> check_scan() const;

  // Appends the pieces of `range` that have a page: mapped here or swapped out, or with a mark of
  // userfaultfd. A page that was written in a private mapping is always among them.
  Result<void> find_resident(std::span<std::byte> range, HostRanges& found) const;

  // Calls `visit` for the pieces of `range` that are mapped here now, in address order, each as
  // long as its pages are of one kind: this process's own (written since they were mapped, or
  // anonymous and written), or others (a file's, the zero page).
  using Visit = std::function<void(std::span<std::byte> piece, bool is_own)>;
  Result<void> visit_present(std::span<std::byte> range, const Visit& visit) const;

  // The page table's entries of `range`, at most `entries.size()` of them from the first page on;
  // returns how many. For readers of more than one page map.
  Result<std::size_t> read_entries(std::span<const std::byte> range,
                                   std::span<std::uint64_t> entries) const;

  // Appends the pages of `range` that were written, or whose mapping was made, since
  // clear_soft_dirty(). On a kernel without CONFIG_MEM_SOFT_DIRTY there are none.
  Result<void> find_soft_dirty(std::span<std::byte> range, HostRanges& found) const;

  // Appends the pages of `range` written since they were last protected, and protects them again in
  // the same step, one page table entry at a time, so that no write falls in between even while
  // other threads write. All of `range` must be registered with a userfaultfd that resolves
  // write faults in the kernel; else an error (EPERM), never an empty answer. After an error some
  // pages may have been protected without being reported.
  Result<void> take_written(std::span<std::byte> range, HostRanges& found) const;

 private:
  // Calls per_page(page, entry) for every page of `range`.
  template <typename PerPage>
  Result<void> for_each_entry(std::span<std::byte> range, PerPage per_page) const;

  explicit Pagemap(UniqueFd fd) : fd_(std::move(fd)) {}
  static Result<Pagemap> open_path(const std::string& path);
  Result<void> find_marked(std::span<std::byte> range, std::uint64_t any_of,
                           HostRanges& found) const;
  UniqueFd fd_;
};

// Forgets the soft-dirty marks of all of this process's memory. No other thread may be writing to
// what the caller tracks.
Result<void> clear_soft_dirty();

// What an entry says.
namespace pagemap_entry {
// There is a page, here or swapped out; or a mark of userfaultfd, which looks like one.
bool is_there(std::uint64_t entry);
// The number of the frame that holds a page that is here; 0 if there is none, or if this process
// may not know (CAP_SYS_ADMIN).
std::uint64_t frame(std::uint64_t entry);
}  // namespace pagemap_entry

}  // namespace stasis::snapshot::internal
