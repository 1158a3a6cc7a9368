#include "cli/save.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "cli/interrupt.h"
#include "snapshot/file_system.h"
#include "snapshot/live/mechanism_catalog.h"

namespace stasis::cli {

Result<void> check_target(const std::string& path, const WriteOptions& options) {
  STASIS_TRY(chunk_bytes_of(options));
  STASIS_TRY(snapshot::check_live_options(options.live_options));
  if (layout_of(options) == snapshot::Layout::kMappable &&
      options.codec != snapshot::Codec::kNone) {
    return Error{
        Errc::kInvalidArgument, 0,
        "--layout mappable cannot be compressed: pages must lie in the file as they lie in "
        "memory; take --layout packed or --compress none"};
  }
  struct stat status = {};
  if (!options.force && lstat(path.c_str(), &status) == 0) {
    return Error{Errc::kAlreadyExists, 0, fmt::format("'{}' exists already", path)};
  }
  const std::string parent = snapshot::split_path(path).parent;
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    Error error = errno_error(errno, fmt::format("save '{}': directory '{}'", path, parent));
    error.code = errno == ENOENT ? Errc::kNotFound : Errc::kIo;
    return error;
  }
  return {};
}

Result<session::SaveReport> save_snapshot(session::Session& session, const std::string& path,
                                          session::SaveKind kind, const WriteOptions& options,
                                          Context& context) {
  Progress progress(fmt::format("saving '{}'", path), context.progress_mode());
  session::SaveOptions save;
  save.kind = kind;
  save.layout = layout_of(options);
  save.codec = options.codec;
  STASIS_ASSIGN(save.chunk_bytes, chunk_bytes_of(options));
  save.threads = options.threads;
  save.replace_existing = options.force;
  save.full_copy = options.full_copy;
  if (options.live) {
    save.live = options.live_options;
    // A guest that has just become ready is held there; this is for guests that run.
    STASIS_TRY(session.resume());
  }
  save.progress = [&progress](std::uint64_t done, std::uint64_t total) {
    progress.update(done, total);
  };
  save.cancel = &interrupt_flag();
  return session.save(path, save);
}

session::ConsoleSink console_printer(Output& output) {
  return [&output](session::ConsoleStream stream, std::string_view bytes) {
    if (stream == session::ConsoleStream::kErrors) {
      output.guest_errors(bytes);
    } else {
      output.guest_output(bytes);
    }
  };
}

}  // namespace stasis::cli
