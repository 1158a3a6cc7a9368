// Which guest-physical pages are mapped to which host memory, with what permission: the bookkeeping
// behind hv_vm_map(), hv_vm_unmap() and hv_vm_protect(), with the refusals of the framework.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <Hypervisor/hv_types.h>

namespace stasis::hvf::sim {

// Thread-compatible. Where the framework's answer is not known for sure the code is our choice:
// callers may rely on its not being HV_SUCCESS, and docs/hvf-status.md lists them.
class Stage2 {
 public:
  struct Page {
    std::uintptr_t host = 0;  // Of the address that was looked up, not of its page.
    hv_memory_flags_t flags = 0;
    friend bool operator==(const Page&, const Page&) = default;
  };

  // `granule_bytes` is 4 or 16 KiB; addresses of `ipa_bits` bits are the guest's.
  Stage2(std::size_t granule_bytes, std::uint32_t ipa_bits)
      : granule_bytes_(granule_bytes), ipa_limit_(std::uint64_t{1} << ipa_bits) {}

  // HV_BAD_ARGUMENT: unaligned, empty, beyond the limit, unknown flags. HV_ERROR: overlaps a
  // mapping.
  hv_return_t map(std::uintptr_t host, hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);
  // HV_BAD_ARGUMENT also when a part of the range is not mapped; then nothing changes.
  hv_return_t unmap(hv_ipa_t ipa, std::size_t size);
  hv_return_t protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);

  [[nodiscard]] std::optional<Page> find(hv_ipa_t ipa) const;

  // A piece of host memory that is mapped somewhere.
  struct HostPiece {
    hv_ipa_t ipa = 0;
    std::uint64_t size = 0;
  };
  // Of [host, host + size), each piece wholly inside one mapping.
  [[nodiscard]] std::vector<HostPiece> find_host(std::uintptr_t host, std::size_t size) const;
  [[nodiscard]] std::size_t extents() const { return extents_.size(); }

 private:
  struct Extent {
    std::uint64_t size = 0;
    std::uintptr_t host = 0;
    hv_memory_flags_t flags = 0;
  };
  using Extents = std::map<hv_ipa_t, Extent>;  // By first address; they do not overlap.

  [[nodiscard]] bool is_valid_range(hv_ipa_t ipa, std::size_t size) const;
  [[nodiscard]] bool is_mapped_throughout(hv_ipa_t ipa, std::size_t size) const;
  [[nodiscard]] Extents::const_iterator extent_of(hv_ipa_t ipa) const;
  // Makes `ipa` the beginning of an extent if it lies inside one.
  void split(hv_ipa_t ipa);

  const std::size_t granule_bytes_;
  const std::uint64_t ipa_limit_;
  Extents extents_;
};

}  // namespace stasis::hvf::sim
