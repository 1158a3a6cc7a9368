// What the program's exit status means: for scripts, so never renumbered.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/result.h"

namespace stasis::cli {

enum class ExitCode : std::uint8_t {
  kOk = 0,
  kNegative = 1,       // The command worked and the answer is no.
  kUsage = 2,          // The command line asks for something that does not exist or makes no sense.
  kCorrupt = 3,        // A file's content fails validation.
  kNotSupported = 4,   // This host or this build cannot do it.
  kIo = 5,             // The operating system refused; a file is missing or in the way.
  kGuestFault = 6,     // The guest program failed.
  kTimeout = 7,        // A bounded wait ended.
  kMismatch = 8,       // Well-formed, but it does not fit: parent, architecture, CPU, version.
  kHypervisor = 9,     // The hypervisor failed.
  kInterrupted = 130,  // Ctrl-C or SIGTERM; everything temporary was removed.
  kBrokenPipe = 141,   // The reader of the output went away.
};

struct ExitCodeInfo {
  ExitCode code;
  std::string_view meaning;
};
// All of them in ascending order, for --help and the reference.
std::span<const ExitCodeInfo> all_exit_codes();

ExitCode exit_code_for(Errc code);

// `run -- PROGRAM` ends as the program did, as a shell gives it ($? in POSIX' sh, 2.8.2): with the
// program's own exit code, which may be none of the above, or 128 and the signal that killed it.
ExitCode exit_code_of_program(std::uint64_t code);
ExitCode exit_code_of_signal(int signal);

// The stable spelling in JSON: "invalid_argument", "corruption", ...
std::string_view json_code(Errc code);

}  // namespace stasis::cli
