// Where there is no Linux KVM on x86-64.
#include "experiments/floor/bare_kvm.h"

namespace stasis::experiments {

Result<BareKvmTimes> measure_bare_kvm(std::uint64_t /*memory_bytes*/) {
  return Error{.code = Errc::kNotSupported,
               .message = "bare KVM floor: built without Linux KVM for x86-64"};
}

}  // namespace stasis::experiments
