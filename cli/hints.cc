#include "cli/command.h"

namespace stasis::cli {

std::string hint_for(const Error& error) {
  switch (error.code) {
    case Errc::kNotSupported:
      return "`stasis doctor` shows what this host can do and how to mend the rest";
    case Errc::kCorruption:
      return "`stasis verify SNAPSHOT` lists everything that is wrong with a snapshot";
    case Errc::kAlreadyExists:
      return "choose another name, or replace it with --force";
    case Errc::kMismatch:
      return "`stasis inspect SNAPSHOT` shows what a snapshot needs";
    case Errc::kTimeout:
      return "give it longer with --timeout, or look at the guest's console output";
    case Errc::kBackend:
      return "`stasis doctor` checks the hypervisor";
    case Errc::kInvalidArgument:
    case Errc::kOutOfRange:
    case Errc::kIo:
    case Errc::kNotFound:
    case Errc::kGuestFault:
      return "";
  }
  return "";
}

}  // namespace stasis::cli
