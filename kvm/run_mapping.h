// The memory that a vCPU shares with the kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/result.h"
#include "kvm/kvm_fd.h"

namespace stasis::kvm {

// The kvm_run structure of a vCPU, shared with the kernel. Resource.
class RunMapping {
 public:
  static Result<RunMapping> create(const KvmFd& vcpu, std::size_t bytes);
  ~RunMapping();
  RunMapping(RunMapping&& other) noexcept;
  RunMapping& operator=(RunMapping&&) = delete;
  RunMapping(const RunMapping&) = delete;
  RunMapping& operator=(const RunMapping&) = delete;

  kvm_run* operator->() const noexcept { return run_; }
  [[nodiscard]] kvm_run* get() const noexcept { return run_; }
  // `count` bytes at `offset` of the mapping; empty if outside.
  [[nodiscard]] std::span<std::byte> bytes(std::uint64_t offset,
                                           std::uint64_t count) const noexcept;

 private:
  RunMapping(kvm_run* run, std::size_t size_bytes) noexcept : run_(run), size_bytes_(size_bytes) {}
  kvm_run* run_;
  std::size_t size_bytes_;
};

}  // namespace stasis::kvm
