#include "kvm/ring_mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace stasis::kvm {

Result<RingMapping> RingMapping::create(const KvmFd& vcpu, std::size_t bytes) {
  const off_t offset = KVM_DIRTY_LOG_PAGE_OFFSET * ::sysconf(_SC_PAGESIZE);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), offset);
  if (mapped == MAP_FAILED) {  // NOLINT: the C library's macro is a cast.
    return errno_error(errno, "cannot map the vCPU's dirty ring");
  }
  return RingMapping({static_cast<kvm_dirty_gfn*>(mapped), bytes / sizeof(kvm_dirty_gfn)});
}

RingMapping::~RingMapping() {
  if (!entries_.empty()) {
    ::munmap(entries_.data(), entries_.size_bytes());
  }
}

RingMapping::RingMapping(RingMapping&& other) noexcept
    : entries_(std::exchange(other.entries_, {})) {}

}  // namespace stasis::kvm
