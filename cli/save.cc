#include "cli/save.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/interrupt.h"

namespace stasis::cli {

Result<void> check_target(const std::string& path, bool force) {
  struct stat status = {};
  if (!force && lstat(path.c_str(), &status) == 0) {
    return Error{Errc::kAlreadyExists, 0, fmt::format("'{}' exists already", path)};
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
  save.progress = [&progress](std::uint64_t done, std::uint64_t total) {
    progress.update(done, total);
  };
  save.cancel = &interrupt_flag();
  return session.save(path, save);
}

session::ConsoleSink console_printer(Output& output) {
  return [&output](std::string_view text) { output.text(printable(text)); };
}

}  // namespace stasis::cli
