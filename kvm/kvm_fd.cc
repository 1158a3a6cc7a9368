#include "kvm/kvm_fd.h"

#include <string>
#include <system_error>

namespace stasis::kvm {

Error KvmFd::request_error(std::string_view name, int os_error) {
  return Error{Errc::kBackend, os_error,
               std::string(name) + ": " + std::generic_category().message(os_error)};
}

}  // namespace stasis::kvm
