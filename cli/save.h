// Saving from the command line: refusing early, showing progress, stopping on Ctrl-C.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/options.h"
#include "core/result.h"
#include "session/session.h"

namespace stasis::cli {

// Whether a save could succeed, asked before minutes of warming up: options that fit together, no
// such snapshot yet (unless --force), a directory that can be written. The save checks again.
Result<void> check_target(const std::string& path, const WriteOptions& options);

Result<session::SaveReport> save_snapshot(session::Session& session, const std::string& path,
                                          session::SaveKind kind, const WriteOptions& options,
                                          Context& context);

// Prints what the guest writes as it comes: Output::guest_output() and guest_errors().
session::ConsoleSink console_printer(Output& output);

}  // namespace stasis::cli
