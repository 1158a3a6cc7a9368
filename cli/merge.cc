// stasis merge: a chain of snapshots as one full snapshot.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/quantity.h"
#include "cli/save.h"
#include "session/build_info.h"
#include "snapshot/operations.h"

namespace stasis::cli {

namespace {

struct MergeCommandOptions {
  std::string path;
  std::string target;
  WriteOptions write;
};

Result<ExitCode> merge(const MergeCommandOptions& options, Context& context) {
  STASIS_TRY(check_target(options.target, options.write));
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const auto chain, snapshot::SnapshotChain::open(files, options.path));
  snapshot::WriteReport report;
  const MonotonicNs begin = host_clock().now();
  {
    Progress progress(fmt::format("writing '{}'", options.target), context.progress_mode());
    snapshot::MergeOptions merge;
    merge.layout = layout_of(options.write);
    merge.codec = options.write.codec;
    STASIS_ASSIGN(merge.chunk_bytes, chunk_bytes_of(options.write));
    merge.threads = options.write.threads;
    merge.replace_existing = options.write.force;
    merge.creator = session::creator();
    merge.created_ns = host_clock().wall_ns();
    merge.supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
    };
    merge.supervision.cancel = &interrupt_flag();
    STASIS_ASSIGN(report, snapshot::merge(files, *chain, options.target, merge));
  }
  const std::int64_t took = host_clock().now() - begin;
  context.output.json() = {{"path", options.target},
                           {"from", options.path},
                           {"chain_depth", chain->depth()},
                           {"id", to_string(report.id)},
                           {"memory_bytes", report.memory_bytes},
                           {"zero_bytes", report.zero_bytes},
                           {"written_bytes", report.written_bytes()},
                           {"write_ns", took}};
  context.output.text(fmt::format(
      "merged {} snapshot{} into '{}': {} of memory, {} written in {}\n", chain->depth(),
      chain->depth() == 1 ? "" : "s", options.target, format_bytes(report.memory_bytes),
      format_bytes(report.written_bytes()), format_duration(took)));
  return ExitCode::kOk;
}

}  // namespace

CommandFunction add_merge(CommandOptions& app) {
  auto options = std::make_shared<MergeCommandOptions>();
  app.add_option("SNAPSHOT", options->path, "Directory of a snapshot").required().type_name("");
  app.add_option("--out", options->target, "The new snapshot").required().type_name("DIR");
  add_write_options(app, options->write);
  app.footer(
      "Examples:\n"
      "  $ stasis merge changed --out flat --force\n");
  return [options](Context& context) { return merge(*options, context); };
}

}  // namespace stasis::cli
