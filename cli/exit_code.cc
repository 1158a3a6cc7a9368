#include "cli/exit_code.h"

#include <array>

namespace stasis::cli {

namespace {

constexpr std::array<ExitCodeInfo, 12> kInfos = {{
    {ExitCode::kOk, "success"},
    {ExitCode::kNegative,
     "the answer is no: snapshots differ, verification failed, guest exited "
     "with an error"},
    {ExitCode::kUsage, "the command line is wrong"},
    {ExitCode::kCorrupt, "a snapshot's or guest's bytes fail validation"},
    {ExitCode::kNotSupported, "not supported on this host or in this build (see `stasis doctor`)"},
    {ExitCode::kIo, "a file is missing, in the way, or the system refused to read or write it"},
    {ExitCode::kGuestFault, "the guest failed: exception, shutdown, or failed self-check"},
    {ExitCode::kTimeout, "the guest did not answer in time"},
    {ExitCode::kMismatch, "well-formed, but it does not fit: parent, architecture, CPU, version"},
    {ExitCode::kHypervisor, "the hypervisor failed"},
    {ExitCode::kInterrupted, "interrupted by Ctrl-C or SIGTERM; everything temporary was removed"},
    {ExitCode::kBrokenPipe, "the reader of the output went away"},
}};

}  // namespace

std::span<const ExitCodeInfo> all_exit_codes() {
  return kInfos;
}

ExitCode exit_code_for(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return ExitCode::kUsage;
    case Errc::kOutOfRange:
    case Errc::kCorruption:
      return ExitCode::kCorrupt;
    case Errc::kNotSupported:
      return ExitCode::kNotSupported;
    case Errc::kIo:
    case Errc::kNotFound:
    case Errc::kAlreadyExists:
      return ExitCode::kIo;
    case Errc::kBackend:
      return ExitCode::kHypervisor;
    case Errc::kMismatch:
      return ExitCode::kMismatch;
    case Errc::kTimeout:
      return ExitCode::kTimeout;
    case Errc::kGuestFault:
      return ExitCode::kGuestFault;
  }
  return ExitCode::kHypervisor;
}

ExitCode exit_code_of_program(std::uint64_t code) {
  return static_cast<ExitCode>(static_cast<std::uint8_t>(code & 0xffU));
}

ExitCode exit_code_of_signal(int signal) {
  constexpr std::uint64_t kKilled = 128;
  return exit_code_of_program(kKilled + static_cast<std::uint64_t>(signal));
}

std::string_view json_code(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument:
      return "invalid_argument";
    case Errc::kOutOfRange:
      return "out_of_range";
    case Errc::kNotSupported:
      return "not_supported";
    case Errc::kCorruption:
      return "corruption";
    case Errc::kIo:
      return "io";
    case Errc::kBackend:
      return "hypervisor";
    case Errc::kMismatch:
      return "mismatch";
    case Errc::kNotFound:
      return "not_found";
    case Errc::kAlreadyExists:
      return "already_exists";
    case Errc::kTimeout:
      return "timeout";
    case Errc::kGuestFault:
      return "guest_fault";
  }
  return "unknown";
}

}  // namespace stasis::cli
