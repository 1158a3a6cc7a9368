// What a VM's guest may do with each page of its RAM, and which pages it has executed. Pure
// bookkeeping beside the framework's own, which cannot be asked.
//
// Execution is given page by page, at the first fetch: so that the host can invalidate what its
// instruction caches may hold of a page before the guest executes it (decision 32).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/ranges.h"
#include "core/result.h"

namespace stasis::hvf {

// What the framework is to be told about a range.
struct Permission {
  bool read = false, write = false, execute = false;
  friend bool operator==(const Permission&, const Permission&) = default;
};

// Thread-compatible.
class GuestRam {
 public:
  // `memory` is borrowed. Every page gets `access`, and none has been executed.
  GuestRam(GuestMemory& memory, Access access);

  struct Page {
    GpaRange range;
    std::byte* host = nullptr;
    Access access = Access::kNone;
    bool is_code = false;  // Has been executed since its contents were last replaced.
  };
  // Nothing if `gpa` is not RAM.
  [[nodiscard]] std::optional<Page> find(Gpa gpa) const;

  // kInvalidArgument unless page multiples, kOutOfRange unless RAM of one region; nothing changes
  // then.
  [[nodiscard]] Result<void> check(std::span<const GpaRange> ranges) const;
  void set_access(GpaRange range, Access access);  // Checked before.
  void set_code(Gpa page);
  void forget_code();

  // Calls visit(GpaRange, Permission) for the largest pieces of `range` that are alike; stops at
  // the first error.
  Result<void> for_each_piece(GpaRange range,
                              const std::function<Result<void>(GpaRange, Permission)>& visit) const;
  // The pages that were executed.
  [[nodiscard]] GpaRanges code() const;

 private:
  struct PageState {
    Access access = Access::kNone;
    bool is_code = false;
  };
  struct Region {
    GpaRange range;
    std::byte* host = nullptr;
    std::vector<PageState> pages;
  };
  [[nodiscard]] const Region* region_of(GpaRange range) const;
  [[nodiscard]] Region* region_of(GpaRange range);
  [[nodiscard]] std::span<PageState> pages_of(GpaRange range);

  std::uint64_t page_bytes_;
  std::vector<Region> regions_;
};

}  // namespace stasis::hvf
