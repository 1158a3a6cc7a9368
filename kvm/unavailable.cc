// The backend on hosts that cannot have it.
#include "kvm/probe.h"

namespace stasis::kvm {

Result<std::unique_ptr<HypervisorBackend>> make_backend(const Options&) {
  return Error{Errc::kNotSupported, 0,
               "KVM needs Linux on x86-64; this build of stasis is for another host"};
}

}  // namespace stasis::kvm
