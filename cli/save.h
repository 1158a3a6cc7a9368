// Saving from the command line: refusing early, showing progress, stopping on Ctrl-C.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/options.h"
#include "core/result.h"
#include "session/session.h"

namespace stasis::cli {

// kAlreadyExists now rather than after minutes of warming up. The save itself checks again.
Result<void> check_target(const std::string& path, bool force);

Result<session::SaveReport> save_snapshot(session::Session& session, const std::string& path,
                                          session::SaveKind kind, const WriteOptions& options,
                                          Context& context);

// Prints what the guest writes to its console as it comes, made printable.
session::ConsoleSink console_printer(Output& output);

}  // namespace stasis::cli
