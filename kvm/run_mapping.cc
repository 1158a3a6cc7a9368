#include "kvm/run_mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "core/address.h"

namespace stasis::kvm {

Result<RunMapping> RunMapping::create(const KvmFd& vcpu, std::size_t bytes) {
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0);
  if (mapped == MAP_FAILED) {  // NOLINT: the C library's macro is a cast.
    return errno_error(errno, "cannot map kvm_run");
  }
  return RunMapping(static_cast<kvm_run*>(mapped), bytes);
}

RunMapping::~RunMapping() {
  if (run_ != nullptr) {
    ::munmap(run_, size_bytes_);
  }
}

RunMapping::RunMapping(RunMapping&& other) noexcept
    : run_(std::exchange(other.run_, nullptr)), size_bytes_(other.size_bytes_) {}

std::span<std::byte> RunMapping::bytes(std::uint64_t offset, std::uint64_t count) const noexcept {
  if (!fits(offset, count, size_bytes_)) {
    return {};
  }
  // The kernel's own layout: data follows the structure in the same mapping.
  return {reinterpret_cast<std::byte*>(run_) + offset, count};  // NOLINT
}

}  // namespace stasis::kvm
