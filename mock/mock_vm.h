// A VM of the mock backend. Private to mock/.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/hypervisor.h"
#include "core/mutex.h"
#include "mock/mock_backend.h"
#include "mock/toy_memory.h"

namespace stasis::mock {

class MockVm final : public Vm, private DirtyLog {
 public:
  // `living_vms` counts this VM until it is destroyed; borrowed.
  MockVm(const MockOptions& options, std::uint32_t vcpus, std::atomic<std::uint32_t>& living_vms);
  ~MockVm() override;
  MockVm(const MockVm&) = delete;
  MockVm& operator=(const MockVm&) = delete;

  Result<void> map(GuestMemory& memory, Access access) override;
  Result<void> protect(std::span<const GpaRange> ranges, Access access) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override;
  DirtyLog* dirty_log(DirtyLogKind kind) override {
    return kind == DirtyLogKind::kBitmap ? this : nullptr;
  }

  // For vCPUs, any thread: brackets the time in which a vCPU is in the guest. Nothing may take
  // permission away or collect dirty pages then. kInvalidArgument before map().
  Result<ToyMemory*> enter_guest();
  void leave_guest();

 private:
  Result<void> start() override;
  Result<GpaRanges> collect() override;
  Result<void> stop() override;

  Result<void> check_log_call(bool expect_logging) STASIS_REQUIRES(mutex_);

  // Constant after construction.
  const MockOptions options_;
  const std::uint32_t vcpus_;
  std::atomic<std::uint32_t>& living_vms_;

  Mutex mutex_;
  std::unique_ptr<ToyMemory> memory_ STASIS_GUARDED_BY(mutex_);  // Set once, by map().
  std::vector<bool> created_ STASIS_GUARDED_BY(mutex_);          // By vCPU index.
  std::uint32_t in_guest_ STASIS_GUARDED_BY(mutex_) = 0;
};

}  // namespace stasis::mock
