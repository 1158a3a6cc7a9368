#include "hvf/framework_vm.h"

#include <libkern/OSCacheControl.h>
#include <mach/mach_time.h>

#include <string>
#include <utility>

#include <Hypervisor/Hypervisor.h>

#include "core/text.h"
#include "hvf/framework_error.h"
#include "hvf/framework_vcpu.h"
#include "hvf/platform.h"

namespace stasis::hvf {
namespace {

Error misuse(std::string message) {
  return Error{Errc::kInvalidArgument, 0, std::string(platform().name) + ": " + std::move(message)};
}

hv_memory_flags_t flags_of(Permission permission) {
  return (permission.read ? HV_MEMORY_READ : hv_memory_flags_t{0}) |
         (permission.write ? HV_MEMORY_WRITE : hv_memory_flags_t{0}) |
         (permission.execute ? HV_MEMORY_EXEC : hv_memory_flags_t{0});
}

bool may_fetch(Access access) {
  return access == Access::kReadExecute || access == Access::kReadWriteExecute;
}
bool may_store(Access access) {
  return access == Access::kReadWrite || access == Access::kReadWriteExecute;
}

}  // namespace

Result<std::unique_ptr<Vm>> HvfVm::create(const VmConfig& config, std::uint64_t page_bytes) {
  announce_vcpus(config.vcpus);
  STASIS_TRY(framework_result(hv_vm_create(nullptr), "create the VM of this process"));
  std::unique_ptr<HvfVm> vm(new HvfVm(config.vcpus, page_bytes));
  if (config.interrupt_controller == InterruptControllerKind::kGicV3) {
    STASIS_ASSIGN(vm->gic_, HvfGic::create());
  }
  return std::unique_ptr<Vm>(std::move(vm));
}

HvfVm::HvfVm(std::uint32_t vcpus, std::uint64_t page_bytes)
    : page_bytes_(page_bytes),
      clock_([] { return mach_absolute_time(); }),
      power_(vcpus),
      created_(vcpus) {}

HvfVm::~HvfVm() {
  // Only a vCPU that still exists, or a VM that somebody else destroyed, can refuse this.
  STASIS_CHECK(hv_vm_destroy() == HV_SUCCESS);
}

Result<void> HvfVm::map(GuestMemory& memory, Access access) {
  if (memory.page_size_bytes() != page_bytes_) {
    return misuse("map: the memory's page size is " + std::to_string(memory.page_size_bytes()) +
                  " bytes but this backend's is " + std::to_string(page_bytes_));
  }
  const MutexLock lock(mutex_);
  if (ram_.has_value()) {
    return misuse("map: a VM's memory is mapped once");
  }
  GuestRam ram(memory, access);
  for (const MemoryRegion& region : memory.regions()) {
    STASIS_TRY(ram.for_each_piece(region.range, [&](GpaRange range, Permission permission) {
      return framework_result(
          hv_vm_map(region.host + (range.begin.value - region.range.begin.value), range.begin.value,
                    range.size, flags_of(permission)),
          "map " + describe(range));
    }));
  }
  ram_.emplace(std::move(ram));
  return {};
}

Result<void> HvfVm::tell_framework(GpaRange range) {
  return ram_->for_each_piece(range, [](GpaRange piece, Permission permission) {
    return framework_result(hv_vm_protect(piece.begin.value, piece.size, flags_of(permission)),
                            "protect " + describe(piece));
  });
}

Result<void> HvfVm::protect(std::span<const GpaRange> ranges, Access access) {
  const MutexLock lock(mutex_);
  if (!ram_.has_value()) {
    return misuse("protect: no memory is mapped");
  }
  STASIS_TRY(ram_->check(ranges));
  for (const GpaRange& range : ranges) {
    ram_->set_access(range, access);
    STASIS_TRY(tell_framework(range));
  }
  return {};
}

Result<HvfVm::Verdict> HvfVm::judge_abort(Gpa gpa, AbortKind kind) {
  const MutexLock lock(mutex_);
  const auto page = ram_.has_value() ? ram_->find(gpa) : std::nullopt;
  if (!page.has_value()) {
    return Verdict::kNotRam;
  }
  if (page->access == Access::kNone) {
    return Verdict::kMissing;
  }
  if (kind == AbortKind::kWrite && !may_store(page->access)) {
    return Verdict::kWriteProtected;
  }
  if (kind == AbortKind::kFetch) {
    if (!may_fetch(page->access)) {
      return Verdict::kForbidden;
    }
    if (!page->is_code) {
      sys_icache_invalidate(page->host, page->range.size);
      ram_->set_code(page->range.begin);
      STASIS_TRY(tell_framework(page->range));
    }
  }
  // Another vCPU's abort has opened the page in the meantime, or the framework has just filled it.
  return Verdict::kRetry;
}

Result<void> HvfVm::forget_code() {
  const MutexLock lock(mutex_);
  if (!ram_.has_value()) {
    return {};
  }
  const GpaRanges code = ram_->code();
  ram_->forget_code();
  for (const GpaRange& range : code) {
    STASIS_TRY(tell_framework(range));
  }
  return {};
}

bool HvfVm::is_mapped() const {
  const MutexLock lock(mutex_);
  return ram_.has_value();
}

Result<void> HvfVm::claim(std::uint32_t index) {
  const MutexLock lock(mutex_);
  if (index >= created_.size()) {
    return misuse("create vCPU " + std::to_string(index) + ": the VM was made for " +
                  std::to_string(created_.size()));
  }
  if (created_[index]) {
    return misuse("create vCPU " + std::to_string(index) + ": it was created before");
  }
  created_[index] = true;
  while (has_gic() && in_order_ != index && !creation_failed_) {
    turn_.wait(mutex_);
  }
  if (creation_failed_) {
    return Error{Errc::kBackend, 0,
                 std::string(platform().name) + ": create vCPU " + std::to_string(index) +
                     ": one before it could not be created"};
  }
  return {};
}

void HvfVm::publish_created(std::uint32_t index, const Result<std::unique_ptr<Vcpu>>& vcpu) {
  const MutexLock lock(mutex_);
  in_order_ = index + 1;
  creation_failed_ = creation_failed_ || (has_gic() && !vcpu.has_value());
  turn_.notify_all();
}

// With a GIC in the order of indices, whoever comes first: the redistributors' frames follow the
// order in which the framework made the vCPUs, not their MPIDR_EL1.
Result<std::unique_ptr<Vcpu>> HvfVm::create_vcpu(std::uint32_t index) {
  STASIS_TRY(claim(index));
  Result<std::unique_ptr<Vcpu>> vcpu = HvfVcpu::create(*this, index);
  publish_created(index, vcpu);
  return vcpu;
}

}  // namespace stasis::hvf
