#include "hvf/framework_error.h"

#include <string>

#include <Hypervisor/Hypervisor.h>

#include "core/text.h"
#include "hvf/platform.h"

namespace stasis::hvf {
namespace {

std::string_view meaning_of(int code) {
  switch (code) {
    case HV_ERROR:
      return "HV_ERROR";
    case HV_BUSY:
      return "HV_BUSY: this process or thread has one already";
    case HV_BAD_ARGUMENT:
      return "HV_BAD_ARGUMENT: not aligned, out of range, unknown, or another thread's";
    case HV_NO_RESOURCES:
      return "HV_NO_RESOURCES: the host has no more";
    case HV_NO_DEVICE:
      return "HV_NO_DEVICE: there is no VM";
    case HV_DENIED:
      return "HV_DENIED: sign the program with the entitlement com.apple.security.hypervisor";
    case HV_UNSUPPORTED:
      return "HV_UNSUPPORTED: not on this host, or not in this VM";
    default:
      return "a code that is not documented";
  }
}

}  // namespace

Result<void> framework_result(int code, std::string_view what, Errc kind) {
  if (code == HV_SUCCESS) {
    return {};
  }
  std::string message = std::string(what) + (what.empty() ? "" : ": ") +
                        "Hypervisor.framework answers " + hex(static_cast<std::uint32_t>(code)) +
                        " (" + std::string(meaning_of(code)) + ")";
  const bool may_have_detail = code == HV_ERROR || code == HV_NO_RESOURCES;
  if (const std::string detail = may_have_detail ? failure_detail() : ""; !detail.empty()) {
    message += ": " + detail;
  }
  return Error{kind, code, std::move(message)};
}

}  // namespace stasis::hvf
