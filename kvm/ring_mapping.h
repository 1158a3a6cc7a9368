// The dirty ring of a vCPU in this process's address space.
#pragma once

#include <cstddef>
#include <span>

#include "core/result.h"
#include "kvm/kvm_fd.h"

namespace stasis::kvm {

// Shared with the kernel, which keeps the vCPU alive as long as the mapping. Resource.
class RingMapping {
 public:
  // The VM has KVM_CAP_DIRTY_LOG_RING enabled with so many bytes.
  static Result<RingMapping> create(const KvmFd& vcpu, std::size_t bytes);
  ~RingMapping();
  RingMapping(RingMapping&& other) noexcept;
  RingMapping& operator=(RingMapping&&) = delete;
  RingMapping(const RingMapping&) = delete;
  RingMapping& operator=(const RingMapping&) = delete;

  [[nodiscard]] std::span<kvm_dirty_gfn> entries() const noexcept { return entries_; }

 private:
  explicit RingMapping(std::span<kvm_dirty_gfn> entries) noexcept : entries_(entries) {}
  std::span<kvm_dirty_gfn> entries_;
};

}  // namespace stasis::kvm
