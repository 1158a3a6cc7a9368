#include "hvf/guest_ram.h"

#include <algorithm>
#include <string>

#include "core/text.h"

namespace stasis::hvf {
namespace {

bool may_execute(Access access) {
  return access == Access::kReadExecute || access == Access::kReadWriteExecute;
}

}  // namespace

GuestRam::GuestRam(GuestMemory& memory, Access access) : page_bytes_(memory.page_size_bytes()) {
  for (const MemoryRegion& region : memory.regions()) {
    regions_.push_back({region.range, region.host,
                        std::vector<PageState>(region.range.size / page_bytes_, {access, false})});
  }
}

const GuestRam::Region* GuestRam::region_of(GpaRange range) const {
  const auto found = std::ranges::find_if(regions_, [&](const Region& region) {
    return range.begin >= region.range.begin &&
           fits(range.begin.value - region.range.begin.value, range.size, region.range.size);
  });
  return found == regions_.end() ? nullptr : &*found;
}

GuestRam::Region* GuestRam::region_of(GpaRange range) {
  return const_cast<Region*>(std::as_const(*this).region_of(range));
}

std::span<GuestRam::PageState> GuestRam::pages_of(GpaRange range) {
  Region& region = *region_of(range);
  return std::span(region.pages)
      .subspan((range.begin.value - region.range.begin.value) / page_bytes_,
               range.size / page_bytes_);
}

std::optional<GuestRam::Page> GuestRam::find(Gpa gpa) const {
  const GpaRange range{Gpa{align_down(gpa.value, page_bytes_)}, page_bytes_};
  const Region* const region = region_of(range);
  if (region == nullptr) {
    return std::nullopt;
  }
  const std::uint64_t offset = range.begin.value - region->range.begin.value;
  const PageState& page = region->pages[offset / page_bytes_];
  return Page{range, region->host + offset, page.access, page.is_code};
}

Result<void> GuestRam::check(std::span<const GpaRange> ranges) const {
  for (const GpaRange& range : ranges) {
    if (!is_aligned(range.begin.value, page_bytes_) || !is_aligned(range.size, page_bytes_)) {
      return Error{Errc::kInvalidArgument, 0,
                   "protect: " + describe(range) + " is not a multiple of the page size of " +
                       std::to_string(page_bytes_) + " bytes"};
    }
    if (region_of(range) == nullptr) {
      return Error{Errc::kOutOfRange, 0,
                   "protect: " + describe(range) + " is not inside one region of memory"};
    }
  }
  return {};
}

void GuestRam::set_access(GpaRange range, Access access) {
  for (PageState& page : pages_of(range)) {
    page.access = access;
  }
}

void GuestRam::set_code(Gpa page) {
  pages_of({page, page_bytes_})[0].is_code = true;
}

void GuestRam::forget_code() {
  for (Region& region : regions_) {
    for (PageState& page : region.pages) {
      page.is_code = false;
    }
  }
}

Result<void> GuestRam::for_each_piece(
    GpaRange range, const std::function<Result<void>(GpaRange, Permission)>& visit) const {
  const auto permission_at = [this](Gpa gpa) {
    const Page page = *find(gpa);
    return Permission{page.access != Access::kNone,
                      page.access == Access::kReadWrite || page.access == Access::kReadWriteExecute,
                      page.is_code && may_execute(page.access)};
  };
  std::uint64_t done = 0;
  while (done < range.size) {
    const Permission permission = permission_at(range.begin + done);
    std::uint64_t size = page_bytes_;
    while (done + size < range.size && permission_at(range.begin + done + size) == permission) {
      size += page_bytes_;
    }
    STASIS_TRY(visit({range.begin + done, size}, permission));
    done += size;
  }
  return {};
}

GpaRanges GuestRam::code() const {
  GpaRanges code;
  for (const Region& region : regions_) {
    for (std::size_t i = 0; i < region.pages.size(); ++i) {
      if (region.pages[i].is_code) {
        code.push_back({region.range.begin + i * page_bytes_, page_bytes_});
      }
    }
  }
  return normalize(std::move(code));
}

}  // namespace stasis::hvf
