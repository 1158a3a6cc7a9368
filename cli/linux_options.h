// Options of `stasis run` for Linux programs.
#pragma once

#include <string>

#include "cli/command_options.h"
#include "session/options.h"

namespace stasis::cli {

// RAM of a Linux guest, unless --memory says otherwise.
inline constexpr std::uint64_t kLinuxMemoryBytes = std::uint64_t{1} << 30U;

void add_linux_options(CommandOptions& app, session::LinuxOptions& target);

// Of `stasis run linux`.
void add_kernel_options(CommandOptions& app, session::KernelOptions& target);

// A program as a shell finds it: a path with a '/', or a name in $PATH. kNotFound.
Result<std::string> find_program(const std::string& name);

}  // namespace stasis::cli
