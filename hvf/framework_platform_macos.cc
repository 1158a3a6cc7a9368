// Apple's framework.
#include <sys/sysctl.h>

#include "hvf/platform.h"

namespace stasis::hvf {

Platform platform() {
  return {BackendKind::kHvf, "hvf"};
}

Result<void> check_platform() {
  int is_supported = 0;
  std::size_t size = sizeof(is_supported);
  if (::sysctlbyname("kern.hv_support", &is_supported, &size, nullptr, 0) != 0 ||
      is_supported == 0) {
    return Error{Errc::kNotSupported, 0,
                 "this Mac offers no Hypervisor.framework (sysctl kern.hv_support is 0): use a Mac "
                 "that is not itself a virtual machine"};
  }
  return {};
}

void announce_vcpus(std::uint32_t /*vcpus*/) {}

std::string failure_detail() {
  return {};
}

}  // namespace stasis::hvf
