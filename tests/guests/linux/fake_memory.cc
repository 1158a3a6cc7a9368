#include "tests/guests/linux/fake_memory.h"

#include <errno.h>

#include <algorithm>
#include <cstring>

namespace stasis::linux_guest {
namespace {

std::uint64_t pages_of(std::uint64_t bytes) {
  return (bytes / kPageBytes) + (bytes % kPageBytes != 0 ? 1 : 0);
}

}  // namespace

std::size_t FakeMemory::read(UserAddress from, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = from.value + done;
    const auto page = pages_.find(at / kPageBytes);
    if (page == pages_.end() || !has(page->second.protection, Protection::kRead)) {
      break;
    }
    const std::size_t count =
        std::min<std::size_t>(out.size() - done, kPageBytes - (at % kPageBytes));
    std::memcpy(&out[done], &page->second.bytes[at % kPageBytes], count);
    done += count;
  }
  return done;
}

std::size_t FakeMemory::write(UserAddress to, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t at = to.value + done;
    const auto page = pages_.find(at / kPageBytes);
    if (page == pages_.end() || !has(page->second.protection, Protection::kWrite)) {
      break;
    }
    const std::size_t count =
        std::min<std::size_t>(bytes.size() - done, kPageBytes - (at % kPageBytes));
    std::memcpy(&page->second.bytes[at % kPageBytes], &bytes[done], count);
    done += count;
  }
  return done;
}

bool FakeMemory::has_pages(std::uint64_t first, std::uint64_t count) const {
  if (count > kPagesMax) {
    return false;
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!pages_.contains(first + i)) {
      return false;
    }
  }
  return true;
}

SysResult FakeMemory::map(const MapRequest& request) {
  const std::uint64_t count = pages_of(request.size_bytes);
  if (pages_.size() + count > kPagesMax) {
    return -ENOMEM;
  }
  const bool is_fixed = request.placement != MapRequest::Placement::kAnywhere;
  const std::uint64_t begin = is_fixed ? request.hint.value : next_;
  if (begin >= kUserSpaceEnd || request.size_bytes > kUserSpaceEnd - begin) {
    return -ENOMEM;
  }
  next_ += is_fixed ? 0 : (count + 1) * kPageBytes;  // A hole behind each.
  for (std::uint64_t i = 0; i < count; ++i) {
    Page page;
    page.protection = request.protection;
    if (request.file != nullptr) {
      static_cast<void>(request.file->read_at(request.file_offset + (i * kPageBytes), page.bytes));
    }
    pages_[(begin / kPageBytes) + i] = page;
  }
  if (request.file != nullptr) {
    files_.push_back(request.file);
  }
  last_request_ = request;
  return static_cast<SysResult>(begin);
}

SysResult FakeMemory::unmap(UserAddress begin, std::uint64_t size_bytes) {
  const auto first = pages_.lower_bound(begin.value / kPageBytes);
  const std::uint64_t end = (begin.value / kPageBytes) + pages_of(size_bytes);
  pages_.erase(first, pages_.lower_bound(end));
  return 0;
}

SysResult FakeMemory::protect(UserAddress begin, std::uint64_t size_bytes, Protection protection) {
  const std::uint64_t first = begin.value / kPageBytes;
  if (!has_pages(first, pages_of(size_bytes))) {
    return -ENOMEM;
  }
  for (std::uint64_t i = 0; i < pages_of(size_bytes); ++i) {
    pages_[first + i].protection = protection;
  }
  return 0;
}

SysResult FakeMemory::remap(UserAddress old_begin, std::uint64_t old_size, std::uint64_t new_size,
                            std::uint64_t /*flags*/, UserAddress /*new_begin*/) {
  if (new_size > old_size) {
    return -ENOMEM;
  }
  if (!has_pages(old_begin.value / kPageBytes, pages_of(old_size))) {
    return -EFAULT;
  }
  unmap(old_begin + (pages_of(new_size) * kPageBytes),
        (pages_of(old_size) - pages_of(new_size)) * kPageBytes);
  return static_cast<SysResult>(old_begin.value);
}

SysResult FakeMemory::advise(UserAddress begin, std::uint64_t size_bytes, int advice) {
  if (advice < 0 || advice > 25) {
    return -EINVAL;
  }
  return has_pages(begin.value / kPageBytes, pages_of(size_bytes)) ? 0 : -ENOMEM;
}

SysResult FakeMemory::set_break(UserAddress /*end*/) {
  return 0x5000'0000;  // Never moves.
}

std::vector<Mapping> FakeMemory::mappings() const {
  std::vector<Mapping> all;
  for (const auto& [number, page] : pages_) {
    if (!all.empty() && all.back().begin.value + all.back().size_bytes == number * kPageBytes &&
        all.back().protection == page.protection) {
      all.back().size_bytes += kPageBytes;
    } else {
      Mapping mapping;
      mapping.begin = UserAddress{number * kPageBytes};
      mapping.size_bytes = kPageBytes;
      mapping.protection = page.protection;
      all.push_back(mapping);
    }
  }
  return all;
}

}  // namespace stasis::linux_guest
