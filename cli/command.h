// What every command of `stasis` is made of.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/command_options.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/result.h"
#include "session/backends.h"
#include "session/session.h"

namespace stasis::cli {

// A guest that nobody needs any more, and whose end nobody should have to wait for: what the kernel
// takes back with the process need not be taken down before. Destroyed in the right order
// otherwise.
struct Leftovers {
  std::unique_ptr<HypervisorBackend> backend;
  std::unique_ptr<session::Session> session;
};

// The surroundings of a command. Borrowed for its duration.
struct Context {
  Output& output;
  bool quiet = false;
  std::vector<std::string> guest_arguments;  // What follows "--".
  session::BackendOptions backends;
  MonotonicNs begin_at = 0;  // When main() began.
  Leftovers leftovers = {};

  [[nodiscard]] ProgressMode progress_mode() const;
};

// kOk, kNegative, kInterrupted or how a Linux program ended; everything else is an Error.
using CommandFunction = std::function<Result<ExitCode>(Context&)>;

// Declares the command's options under `app` and returns what to do when it is chosen. The options
// live as long as the function.
CommandFunction add_doctor(CommandOptions& app);
CommandFunction add_run(CommandOptions& app);
CommandFunction add_restore(CommandOptions& app);
CommandFunction add_invoke(CommandOptions& app);
CommandFunction add_bench_reset(CommandOptions& app);
CommandFunction add_inspect(CommandOptions& app);
CommandFunction add_verify(CommandOptions& app);
CommandFunction add_verify_diff(CommandOptions& app);
CommandFunction add_diff(CommandOptions& app);
CommandFunction add_merge(CommandOptions& app);
CommandFunction add_policy(CommandOptions& app);
CommandFunction add_trace(CommandOptions& app);
CommandFunction add_experiment(CommandOptions& app);
CommandFunction add_report(CommandOptions& app);

// What a user can do about `error`, beyond what its message says; may be empty.
std::string hint_for(const Error& error);

// All of the program but the process around it: parses, runs, prints, returns the exit code.
int run_program(int argc, const char* const* argv);

}  // namespace stasis::cli
