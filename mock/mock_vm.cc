#include "mock/mock_vm.h"

#include <string>
#include <utility>

#include "core/text.h"
#include "mock/mock_vcpu.h"

namespace stasis::mock {
namespace {

Error misuse(std::string message) {
  return Error{Errc::kInvalidArgument, 0, "mock: " + std::move(message)};
}

}  // namespace

MockVm::MockVm(const MockOptions& options, std::uint32_t vcpus,
               std::atomic<std::uint32_t>& living_vms)
    : options_(options), vcpus_(vcpus), living_vms_(living_vms), created_(vcpus) {}

MockVm::~MockVm() {
  {
    const MutexLock lock(mutex_);
    STASIS_CHECK(in_guest_ == 0);
  }
  living_vms_.fetch_sub(1, std::memory_order_relaxed);
}

Result<void> MockVm::map(GuestMemory& memory, Access access) {
  if (memory.page_size_bytes() != options_.page_size_bytes) {
    return misuse("map: the memory's page size is " + std::to_string(memory.page_size_bytes()) +
                  " bytes but this backend's is " + std::to_string(options_.page_size_bytes));
  }
  auto mapped = std::make_unique<ToyMemory>(memory, access);
  const MutexLock lock(mutex_);
  if (memory_ != nullptr) {
    return misuse("map: a VM's memory is mapped once");
  }
  memory_ = std::move(mapped);
  return {};
}

Result<void> MockVm::protect(std::span<const GpaRange> ranges, Access access) {
  const MutexLock lock(mutex_);
  if (memory_ == nullptr) {
    return misuse("protect: no memory is mapped");
  }
  // All checks first: a batch happens wholly or not at all.
  for (const GpaRange& range : ranges) {
    if (!is_aligned(range.begin.value, options_.page_size_bytes) ||
        !is_aligned(range.size, options_.page_size_bytes)) {
      return misuse("protect: " + describe(range) + " is not a multiple of the page size of " +
                    std::to_string(options_.page_size_bytes) + " bytes");
    }
    if (!memory_->is_ram(range)) {
      return Error{Errc::kOutOfRange, 0,
                   "mock: protect: " + describe(range) + " is not inside one region of memory"};
    }
    if (in_guest_ != 0 && memory_->would_take_away(range, access)) {
      return misuse("protect: permission on " + describe(range) +
                    " cannot be taken away while a vCPU is in the guest; pause all of them first");
    }
  }
  for (const GpaRange& range : ranges) {
    memory_->set_access(range, access);
  }
  return {};
}

Result<std::unique_ptr<Vcpu>> MockVm::create_vcpu(std::uint32_t index) {
  const MutexLock lock(mutex_);
  if (index >= vcpus_) {
    return misuse("create vCPU " + std::to_string(index) + ": the VM was made for " +
                  std::to_string(vcpus_));
  }
  if (created_[index]) {
    return misuse("create vCPU " + std::to_string(index) + ": it was created before");
  }
  created_[index] = true;
  return std::unique_ptr<Vcpu>(std::make_unique<MockVcpu>(*this, index));
}

Result<ToyMemory*> MockVm::enter_guest() {
  const MutexLock lock(mutex_);
  if (memory_ == nullptr) {
    return misuse("run: no memory is mapped");
  }
  ++in_guest_;
  return memory_.get();
}

void MockVm::leave_guest() {
  const MutexLock lock(mutex_);
  --in_guest_;
}

Result<void> MockVm::check_log_call(bool expect_logging) {
  if (memory_ == nullptr) {
    return misuse("dirty log: no memory is mapped");
  }
  if (in_guest_ != 0) {
    return misuse("dirty log: a vCPU is in the guest; pause all of them first");
  }
  if (memory_->is_logging() != expect_logging) {
    return misuse(expect_logging ? "dirty log: not started" : "dirty log: started twice");
  }
  return {};
}

Result<void> MockVm::start() {
  const MutexLock lock(mutex_);
  STASIS_TRY(check_log_call(false));
  memory_->start_dirty_log();
  return {};
}

Result<GpaRanges> MockVm::collect() {
  const MutexLock lock(mutex_);
  STASIS_TRY(check_log_call(true));
  return memory_->collect_dirty_log();
}

Result<void> MockVm::stop() {
  const MutexLock lock(mutex_);
  STASIS_TRY(check_log_call(true));
  memory_->stop_dirty_log();
  return {};
}

}  // namespace stasis::mock
