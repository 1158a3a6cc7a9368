#include "guests/memory_layout.h"

#include <algorithm>
#include <string>

#include "core/address.h"
#include "guests/abi.h"

namespace stasis::guests {
namespace {

std::string in_mib(std::uint64_t bytes) {
  return std::to_string(bytes / abi::kMiB) + " MiB";
}

Error bad_size(std::uint64_t size_bytes, const std::string& cause, const std::string& cure) {
  return Error{.code = Errc::kInvalidArgument,
               .message = "guest memory of " + std::to_string(size_bytes) + " bytes: " + cause +
                          "; " + cure};
}

}  // namespace

Result<std::vector<RegionSpec>> guest_memory_regions(std::uint64_t size_bytes,
                                                     const MemoryOptions& options) {
  const std::string limits =
      "choose " + in_mib(abi::kMemoryBytesMin) + " to " + in_mib(abi::kMemoryBytesMax);
  if (size_bytes < abi::kMemoryBytesMin) {
    return bad_size(size_bytes, "less than the least that a guest can be loaded into", limits);
  }
  if (size_bytes > abi::kMemoryBytesMax) {
    return bad_size(size_bytes, "more than the guest's page tables can map", limits);
  }
  if (!is_aligned(size_bytes, abi::kMemoryUnitBytes)) {
    return bad_size(
        size_bytes, "not a multiple of " + in_mib(abi::kMemoryUnitBytes),
        "the next larger size is " + in_mib(align_up(size_bytes, abi::kMemoryUnitBytes)));
  }
  if (options.backing != BackingKind::kAnonymous && options.backing != BackingKind::kMemfd) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "guest memory backed by " + std::string(name_of(options.backing)) +
                            ": a fresh guest has no file; use anonymous or memfd"};
  }
  const std::uint64_t low_bytes = std::min(size_bytes, abi::kLowMemoryEnd);
  std::vector<RegionSpec> specs = {RegionSpec{.range = GpaRange{Gpa{0}, low_bytes},
                                              .backing = options.backing,
                                              .huge_pages = options.huge_pages}};
  if (size_bytes > low_bytes) {
    specs.push_back(
        RegionSpec{.range = GpaRange{Gpa{abi::kHighMemoryBegin}, size_bytes - low_bytes},
                   .backing = options.backing,
                   .huge_pages = options.huge_pages});
  }
  return specs;
}

}  // namespace stasis::guests
