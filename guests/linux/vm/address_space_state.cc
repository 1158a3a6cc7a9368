// GuestAddressSpace: its saved state.
#include <cinttypes>
#include <utility>

#include "core/text.h"
#include "guests/abi.h"
#include "guests/linux/vm/byte_codec.h"
#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/layout.h"
#include "guests/memory_layout.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kAnonymous =
    0;  // Instead of a file's snapshot id, which is shifted by one.
constexpr std::uint64_t kVmaBytesMin = 8 * 3 + 3 + 8 + 8;
constexpr std::uint8_t kProtectionBits = 7;

Error corrupt(std::string_view field, std::string_view cause) {
  return Error{.code = Errc::kCorruption,
               .message = "address space: " + std::string(field) + ": " + std::string(cause)};
}

// Private, shared, and for pages that are a file's (which a reader of before must not take for the
// mapping's own) the two kinds of them.
enum Sharing : std::uint8_t { kPrivate, kShared, kSharedPages, kSharedPagesToWrite, kSharingEnd };

std::uint8_t sharing_of(const Vma& vma) {
  if (vma.shows_shared_pages()) {
    return vma.may_write ? kSharedPagesToWrite : kSharedPages;
  }
  return vma.sharing == MapRequest::Sharing::kShared ? kShared : kPrivate;
}

// Ascending, disjoint page multiples within [lowest, end).
class Ascending {
 public:
  Ascending(std::uint64_t lowest, std::uint64_t end) : lowest_(lowest), end_(end) {}
  bool accept(std::uint64_t begin, std::uint64_t size) {
    if (begin < lowest_ || size == 0 || !fits(begin, size, end_) ||
        !is_aligned(begin | size, kPageBytes)) {
      return false;
    }
    lowest_ = begin + size;
    return true;
  }

 private:
  std::uint64_t lowest_, end_;
};

// Of RAM of `memory_bytes`, behind the page tables; not yet known to be inside of it.
Result<GpaRanges> decode_free_frames(ByteReader& in, std::uint64_t memory_bytes) {
  GpaRanges free;
  Ascending order(layout::tables_end(memory_bytes), UINT64_MAX);
  for (std::uint64_t i = in.count(16); i > 0; --i) {
    const std::uint64_t begin = in.u64();
    const std::uint64_t size = in.u64();
    if (!order.accept(begin, size)) {
      return corrupt("free frames", "not ascending pages at " + hex(begin));
    }
    free.push_back({Gpa{begin}, size});
  }
  return free;
}

// Entries of one of the `tables_used` page tables, or of the root.
Result<EntryRun> decode_rewrite(ByteReader& in, std::uint64_t tables_used) {
  const EntryRun run{Gpa{in.u64()}, in.u64()};
  const std::uint64_t offset = run.first.value - layout::kTables;
  const bool in_root = run.first.value >= layout::kRootTable &&
                       fits(run.first.value - layout::kRootTable, run.count * 8, kPageBytes);
  if (run.count > 512 || run.first.value % 8 != 0 ||
      !(in_root || (run.first.value >= layout::kTables &&
                    fits(offset, run.count * 8, tables_used * kPageBytes)))) {
    return corrupt("rewrites", "outside of the page tables");
  }
  return run;
}

}  // namespace

void GuestAddressSpace::encode(ByteWriter& out) const {
  out.u64(memory_bytes_);
  out.u64(tables_.pool_used());
  out.u64(plan_.break_begin);
  out.u64(plan_.mmap_top);
  out.u64(plan_.stack_lowest);
  out.u64(break_end_);
  const GpaRanges free = frames_.free_ranges();
  out.u64(free.size());
  for (const GpaRange& range : free) {
    out.u64(range.begin.value);
    out.u64(range.size);
  }
  out.u64(vmas_.size());
  for (const Vma& vma : vmas_.all()) {
    out.u64(vma.begin);
    out.u64(vma.size());
    out.u64(vma.file_offset);
    out.u8(static_cast<std::uint8_t>(vma.protection));
    out.u8(sharing_of(vma));
    out.u8(vma.grows_down ? 1 : 0);
    out.u64(vma.file == nullptr ? kAnonymous : vma.file->snapshot_id() + 1);
    out.text(vma.name);
  }
  out.u64(tables_.rewrites().size());
  for (const EntryRun& run : tables_.rewrites()) {
    out.u64(run.first.value);
    out.u64(run.count);
  }
}

Result<std::unique_ptr<GuestAddressSpace>> GuestAddressSpace::decode(ByteReader& in) {
  const std::uint64_t memory_bytes = in.u64();
  if (memory_bytes < layout::kMemoryBytesMin || !guests::guest_memory_regions(memory_bytes)) {
    return corrupt("memory", std::to_string(memory_bytes) + " bytes are not possible");
  }
  const std::uint64_t tables_used = in.u64();
  if (tables_used > layout::table_bytes(memory_bytes) / kPageBytes) {
    return corrupt("page tables", "more than there is room for");
  }
  AddressPlan plan{.break_begin = in.u64(), .mmap_top = in.u64(), .stack_lowest = in.u64()};
  const std::uint64_t break_end = in.u64();
  if (plan.mmap_top > kUserSpaceEnd || break_end < plan.break_begin || break_end > kUserSpaceEnd) {
    return corrupt("plan", "addresses outside of user space");
  }
  // What is placed from here on begins at these addresses.
  if (!is_aligned(plan.break_begin | plan.mmap_top | plan.stack_lowest, kPageBytes)) {
    return corrupt("plan", "addresses that are no multiples of the page size");
  }
  auto space = create(memory_bytes);
  const GpaRanges frames = space->frames_.free_ranges();
  STASIS_ASSIGN(const GpaRanges free, decode_free_frames(in, memory_bytes));
  if (!subtract(normalize(free), frames).empty()) {
    return corrupt("free frames", "outside of guest memory");
  }
  space.reset(new GuestAddressSpace(memory_bytes, tables_used, FrameAllocator(free)));
  space->set_plan(plan);
  space->break_end_ = break_end;
  Ascending vma_order(kPageBytes, kUserSpaceEnd);
  for (std::uint64_t i = in.count(kVmaBytesMin); i > 0; --i) {
    Vma vma;
    vma.begin = in.u64();
    const std::uint64_t size = in.u64();
    vma.file_offset = in.u64();
    const std::uint8_t protection = in.u8();
    const std::uint8_t sharing = in.u8();
    const std::uint8_t grows_down = in.u8();
    const std::uint64_t file = in.u64();
    vma.name = in.text();
    if (!vma_order.accept(vma.begin, size) || protection > kProtectionBits ||
        sharing >= kSharingEnd || grows_down > 1 || !is_aligned(vma.file_offset, kPageBytes) ||
        vma.file_offset > UINT64_MAX - size) {
      return corrupt("mapping", "at " + hex(vma.begin) + " is not one");
    }
    vma.end = vma.begin + size;
    vma.protection = static_cast<Protection>(protection);
    vma.sharing =
        sharing == kPrivate ? MapRequest::Sharing::kPrivate : MapRequest::Sharing::kShared;
    vma.may_write = sharing == kSharedPagesToWrite;
    vma.grows_down = grows_down != 0;
    const bool shows_shared_pages = sharing >= kSharedPages;
    if (shows_shared_pages && file == kAnonymous) {
      return corrupt("mapping", "at " + hex(vma.begin) + " shares no file");
    }
    space->unbound_.push_back({std::move(vma), file, shows_shared_pages});
  }
  for (std::uint64_t i = in.count(16); i > 0; --i) {
    STASIS_ASSIGN(const EntryRun run, decode_rewrite(in, tables_used));
    space->tables_.rewrites().push_back(run);
  }
  return space;
}

Result<void> GuestAddressSpace::bind_files(const FindFile& find) {
  for (Unbound& unbound : std::exchange(unbound_, {})) {
    if (unbound.file != kAnonymous) {
      unbound.vma.file = find(unbound.file - 1);
      if (unbound.vma.file == nullptr) {
        return Error{.code = Errc::kMismatch,
                     .message = "the file mapped at " + hex(unbound.vma.begin) + " is unknown"};
      }
      if (unbound.shows_shared_pages != unbound.vma.shows_shared_pages()) {
        return corrupt("mapping", "at " + hex(unbound.vma.begin) +
                                      " shares another kind of file than was saved");
      }
    }
    vmas_.insert(std::move(unbound.vma));
  }
  return {};
}

}  // namespace stasis::linux_guest::vm
