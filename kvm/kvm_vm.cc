#include "kvm/kvm_vm.h"

#include <cerrno>
#include <string>
#include <utility>

#include "kvm/kvm_vcpu.h"

namespace stasis::kvm {
namespace {

// api.rst, KVM_SET_TSS_ADDR: three pages below 4 GiB that are not RAM, needed on Intel processors
// without "unrestricted guest". The address is the one that other monitors use.
constexpr unsigned long kTssAddress = 0xfffbd000;

Result<void> enable(const KvmFd& vm, std::uint32_t number, bool available) {
  if (!available) {
    return {};
  }
  kvm_enable_cap capability{};
  capability.cap = number;
  capability.args[0] = 1;
  return vm.apply(kEnableCap, &capability);
}

}  // namespace

Result<std::unique_ptr<Vm>> KvmVm::create(std::shared_ptr<HostFacts> facts, const VmConfig& config,
                                          const Options& options) {
  int descriptor = -EINTR;
  while (descriptor == -EINTR) {  // The kernel gives up on any signal.
    descriptor = facts->system().attempt(kCreateVm, 0);
  }
  if (descriptor < 0) {
    return KvmFd::request_error(kCreateVm.name, -descriptor);
  }
  KvmFd fd{UniqueFd(descriptor)};
  STASIS_TRY(enable(fd, KVM_CAP_EXCEPTION_PAYLOAD, facts->features().has_exception_payload));
  STASIS_TRY(enable(fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, facts->features().has_triple_fault_event));
  STASIS_TRY(enable(fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE,
                    facts->features().has_exit_on_emulation_failure));
  if (facts->features().engine == Engine::kHardware) {
    STASIS_TRY(fd.apply(kSetTssAddr, kTssAddress));
  }
  if (config.dirty_ring_entries != 0) {  // Only before the first vCPU: api.rst, 8.29.
    kvm_enable_cap capability{};
    capability.cap = KVM_CAP_DIRTY_LOG_RING;
    capability.args[0] = std::uint64_t{config.dirty_ring_entries} * sizeof(kvm_dirty_gfn);
    STASIS_TRY(fd.apply(kEnableCap, &capability));
  }
  return std::unique_ptr<Vm>(new KvmVm(std::move(fd), std::move(facts), config, options));
}

// With rings KVM refuses to read bitmaps.
DirtyLog* KvmVm::dirty_log(DirtyLogKind kind) {
  switch (kind) {
    case DirtyLogKind::kBitmap:
      return ring_entries_ == 0 ? &dirty_log_ : nullptr;
    case DirtyLogKind::kManualClear:
      return ring_entries_ == 0 && facts_->features().manual_dirty_modes != 0 ? &manual_dirty_log_
                                                                              : nullptr;
    case DirtyLogKind::kRing:
      return ring_entries_ != 0 ? &ring_log_ : nullptr;
  }
  return nullptr;
}

std::vector<GpaRange> KvmVm::slots() const {
  std::vector<GpaRange> ranges;
  for (const MemorySlot& slot : slots_.slots()) {
    ranges.push_back(slot.range);
  }
  return ranges;
}

Result<void> KvmVm::set_logging(bool on) {
  constexpr std::uint32_t kLogged = KVM_MEM_LOG_DIRTY_PAGES;
  return slots_.set_flags(on ? slots_.flags() | kLogged : slots_.flags() & ~kLogged);
}

// Answers how many entries it gave back.
Result<void> KvmVm::reset_rings() {
  const auto answer = fd_.call(kResetDirtyRings, 0);
  return answer ? Result<void>() : Result<void>(answer.error());
}

Result<void> KvmVm::map(GuestMemory& memory, Access access) {
  if (mapped_) {
    return Error{Errc::kInvalidArgument, 0, "guest RAM is mapped once, and already is"};
  }
  if (memory.page_size_bytes() != 4096) {
    return Error{Errc::kNotSupported, 0,
                 "KVM on x86-64 has pages of 4096 bytes; this guest RAM has pages of " +
                     std::to_string(memory.page_size_bytes())};
  }
  std::uint32_t flags = 0;
  switch (access) {
    case Access::kReadWriteExecute:
      break;
    case Access::kReadExecute:
      if (!facts_->features().has_readonly_memory) {
        return Error{Errc::kNotSupported, 0, "this KVM has no read-only memory slots"};
      }
      flags = KVM_MEM_READONLY;
      break;
    case Access::kNone:
    case Access::kRead:
    case Access::kReadWrite:
      return Error{Errc::kNotSupported, 0,
                   "KVM slots on x86-64 are always readable and executable: map with "
                   "read-write-execute or read-execute access"};
  }
  // With hardware paging KVM keeps no reverse map and a slot is cheap: nothing to gain.
  const bool defer = facts_->features().engine == Engine::kPvm &&
                     options_.deferral == Deferral::kAllowed &&
                     facts_->features().has_exit_on_emulation_failure;
  mapped_ = true;
  return slots_.add(memory, flags, defer ? Deferral::kAllowed : Deferral::kForbidden,
                    options_.slot_sizes);
}

Result<void> KvmVm::protect(std::span<const GpaRange>, Access) {
  return Error{Errc::kNotSupported, 0,
               "KVM cannot take write permission from single pages and report the address: use "
               "the dirty log, or write-protect the backing with userfaultfd"};
}

Result<std::unique_ptr<Vcpu>> KvmVm::create_vcpu(std::uint32_t index) {
  if (index >= vcpus_) {
    return Error{Errc::kInvalidArgument, 0,
                 "vCPU " + std::to_string(index) + " does not exist: the VM was created with " +
                     std::to_string(vcpus_)};
  }
  if (taken_[index].exchange(true)) {
    return Error{Errc::kInvalidArgument, 0,
                 "vCPU " + std::to_string(index) + " exists already: each index is used once"};
  }
  created_.fetch_add(1, std::memory_order_relaxed);  // Creation is ordered before every run().
  return KvmVcpu::create(fd_, facts_, slots_, index, created_,
                         ring_entries_ == 0 ? nullptr : &rings_);
}

}  // namespace stasis::kvm
