// The one place where this project calls ioctl() on KVM: typed requests, named errors.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/result.h"
#include "core/unique_fd.h"
#include "kvm/kvm_uapi.h"

namespace stasis::kvm {

// A request number with its name and the type of its argument: a pointer to the kernel's structure,
// or unsigned long for a plain value.
template <typename Argument>
struct Request {
  unsigned long number;
  std::string_view name;

  // A number without a size (_IO) takes its argument by value; any other must agree with the type.
  consteval Request(unsigned long request_number, std::string_view request_name)
      : number(request_number), name(request_name) {
    if constexpr (std::is_pointer_v<Argument>) {
      if (_IOC_SIZE(number) != sizeof(std::remove_pointer_t<Argument>) && _IOC_SIZE(number) != 0) {
        size_of_the_argument_does_not_match_the_request();
      }
    }
  }

 private:
  // Not constexpr, and never defined: calling it is a compile error.
  static void size_of_the_argument_does_not_match_the_request();
};

#define STASIS_KVM_REQUEST(name, argument, request) \
  inline constexpr Request<argument> name {         \
    request, #request                               \
  }

STASIS_KVM_REQUEST(kGetApiVersion, unsigned long, KVM_GET_API_VERSION);
STASIS_KVM_REQUEST(kCheckExtension, unsigned long, KVM_CHECK_EXTENSION);
STASIS_KVM_REQUEST(kGetVcpuMmapSize, unsigned long, KVM_GET_VCPU_MMAP_SIZE);
STASIS_KVM_REQUEST(kCreateVm, unsigned long, KVM_CREATE_VM);
STASIS_KVM_REQUEST(kGetSupportedCpuid, kvm_cpuid2*, KVM_GET_SUPPORTED_CPUID);
STASIS_KVM_REQUEST(kGetMsrIndexList, kvm_msr_list*, KVM_GET_MSR_INDEX_LIST);
STASIS_KVM_REQUEST(kGetDeviceAttr, const kvm_device_attr*, KVM_GET_DEVICE_ATTR);

STASIS_KVM_REQUEST(kCreateVcpu, unsigned long, KVM_CREATE_VCPU);
STASIS_KVM_REQUEST(kEnableCap, const kvm_enable_cap*, KVM_ENABLE_CAP);
STASIS_KVM_REQUEST(kSetTssAddr, unsigned long, KVM_SET_TSS_ADDR);
STASIS_KVM_REQUEST(kSetUserMemoryRegion, const kvm_userspace_memory_region*,
                   KVM_SET_USER_MEMORY_REGION);
STASIS_KVM_REQUEST(kGetDirtyLog, const kvm_dirty_log*, KVM_GET_DIRTY_LOG);
STASIS_KVM_REQUEST(kClearDirtyLog, const kvm_clear_dirty_log*, KVM_CLEAR_DIRTY_LOG);
STASIS_KVM_REQUEST(kResetDirtyRings, unsigned long, KVM_RESET_DIRTY_RINGS);

STASIS_KVM_REQUEST(kRun, unsigned long, KVM_RUN);
STASIS_KVM_REQUEST(kGetRegs, kvm_regs*, KVM_GET_REGS);
STASIS_KVM_REQUEST(kSetRegs, const kvm_regs*, KVM_SET_REGS);
STASIS_KVM_REQUEST(kGetSregs, kvm_sregs*, KVM_GET_SREGS);
STASIS_KVM_REQUEST(kSetSregs, const kvm_sregs*, KVM_SET_SREGS);
STASIS_KVM_REQUEST(kGetXcrs, kvm_xcrs*, KVM_GET_XCRS);
STASIS_KVM_REQUEST(kSetXcrs, const kvm_xcrs*, KVM_SET_XCRS);
STASIS_KVM_REQUEST(kGetXsave, kvm_xsave*, KVM_GET_XSAVE);
STASIS_KVM_REQUEST(kGetXsave2, kvm_xsave*, KVM_GET_XSAVE2);
STASIS_KVM_REQUEST(kSetXsave, const kvm_xsave*, KVM_SET_XSAVE);
STASIS_KVM_REQUEST(kGetMsrs, kvm_msrs*, KVM_GET_MSRS);
STASIS_KVM_REQUEST(kSetMsrs, const kvm_msrs*, KVM_SET_MSRS);
STASIS_KVM_REQUEST(kGetDebugregs, kvm_debugregs*, KVM_GET_DEBUGREGS);
STASIS_KVM_REQUEST(kSetDebugregs, const kvm_debugregs*, KVM_SET_DEBUGREGS);
STASIS_KVM_REQUEST(kGetMpState, kvm_mp_state*, KVM_GET_MP_STATE);
STASIS_KVM_REQUEST(kSetMpState, const kvm_mp_state*, KVM_SET_MP_STATE);
STASIS_KVM_REQUEST(kGetVcpuEvents, kvm_vcpu_events*, KVM_GET_VCPU_EVENTS);
STASIS_KVM_REQUEST(kSetVcpuEvents, const kvm_vcpu_events*, KVM_SET_VCPU_EVENTS);
STASIS_KVM_REQUEST(kSetCpuid2, const kvm_cpuid2*, KVM_SET_CPUID2);
STASIS_KVM_REQUEST(kGetTscKhz, unsigned long, KVM_GET_TSC_KHZ);
STASIS_KVM_REQUEST(kSetTscKhz, unsigned long, KVM_SET_TSC_KHZ);

#undef STASIS_KVM_REQUEST

// A descriptor of KVM: the system's, a VM's or a vCPU's. Resource; as shareable between threads as
// the kernel's object behind it.
class KvmFd {
 public:
  explicit KvmFd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  // The kernel's answer, or -errno. For hot paths and for callers that expect a refusal.
  template <typename Argument>
  int attempt(const Request<Argument>& request,
              std::type_identity_t<Argument> argument) const noexcept {
    const int answer = ::ioctl(fd_.get(), request.number, argument);
    return answer < 0 ? -errno : answer;
  }

  // The kernel's answer; an error is kBackend and names the request.
  template <typename Argument>
  Result<int> call(const Request<Argument>& request,
                   std::type_identity_t<Argument> argument) const {
    const int answer = attempt(request, argument);
    if (answer < 0) {
      return request_error(request.name, -answer);
    }
    return answer;
  }

  // As call(), for requests that answer 0.
  template <typename Argument>
  Result<void> apply(const Request<Argument>& request,
                     std::type_identity_t<Argument> argument) const {
    const int answer = attempt(request, argument);
    if (answer < 0) {
      return request_error(request.name, -answer);
    }
    return {};
  }

  // The value of a capability; 0 when the kernel lacks it.
  [[nodiscard]] int capability(unsigned long number) const noexcept {
    const int answer = attempt(kCheckExtension, number);
    return answer < 0 ? 0 : answer;
  }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }

  static Error request_error(std::string_view name, int os_error);

 private:
  UniqueFd fd_;
};

}  // namespace stasis::kvm
