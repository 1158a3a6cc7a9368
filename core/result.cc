#include "core/result.h"

#include <system_error>

namespace stasis {

std::string_view name_of(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid argument";
    case Errc::kOutOfRange:
      return "out of range";
    case Errc::kNotSupported:
      return "not supported";
    case Errc::kCorruption:
      return "corruption";
    case Errc::kIo:
      return "I/O error";
    case Errc::kBackend:
      return "hypervisor error";
    case Errc::kMismatch:
      return "mismatch";
    case Errc::kNotFound:
      return "not found";
    case Errc::kAlreadyExists:
      return "already exists";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kGuestFault:
      return "guest fault";
  }
  return "unknown error";
}

Error Error::with_context(std::string_view context) && {
  message.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

std::string Error::to_string() const {
  return std::string(name_of(code)) + ": " + message;
}

Error errno_error(int os_error, std::string_view context) {
  return Error{Errc::kIo, os_error,
               std::string(context) + ": " + std::generic_category().message(os_error)};
}

}  // namespace stasis
