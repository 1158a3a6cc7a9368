#include "cli/options.h"

#include <fmt/format.h>

#include "cli/quantity.h"
#include "session/calibration_file.h"
#include "snapshot/manifest_codec.h"

namespace stasis::cli {

namespace {

template <typename Target>
DeclaredOption add_size_option(CommandOptions& app, const std::string& name, Target& target,
                               const std::string& description) {
  return app
      .add_option(
          name,
          [&target](const std::string& text) -> Result<void> {
            STASIS_ASSIGN(target, parse_size(text));
            return {};
          },
          description)
      .type_name("SIZE");
}

}  // namespace

DeclaredOption add_size(CommandOptions& app, const std::string& name, std::uint64_t& target,
                        const std::string& description) {
  return add_size_option(app, name, target,
                         description + (target == 0 ? "" : " [" + format_bytes(target) + "]"));
}

DeclaredOption add_size(CommandOptions& app, const std::string& name,
                        std::optional<std::uint64_t>& target, const std::string& description) {
  return add_size_option(app, name, target, description);
}

DeclaredOption add_duration(CommandOptions& app, const std::string& name,
                            std::chrono::nanoseconds& target, const std::string& description) {
  return app
      .add_option(
          name,
          [&target](const std::string& text) -> Result<void> {
            STASIS_ASSIGN(target, parse_duration(text));
            return {};
          },
          fmt::format("{} [{}]", description, format_duration(target.count())))
      .type_name("TIME");
}

DeclaredOption add_count(CommandOptions& app, const std::string& name, std::uint32_t& target,
                         std::uint32_t limit, const std::string& description) {
  return app
      .add_option(
          name,
          [&target, limit](const std::string& text) -> Result<void> {
            // Strict as sizes are, without a suffix.
            const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
            Result<std::uint64_t> value = parse_size(text);
            if (!digits || !value || *value < 1 || *value > limit) {
              return Error{Errc::kInvalidArgument, 0,
                           fmt::format("'{}' is not a whole number from 1 to {}", text, limit)};
            }
            target = static_cast<std::uint32_t>(*value);
            return {};
          },
          fmt::format("{} [{}]", description, target))
      .type_name("N");
}

void add_requests(CommandOptions& app, std::vector<std::string>& target) {
  app.add_option("--request", target,
                 "Send this request once the guest is ready: TEXT (@@x for the text @x), @FILE, or "
                 "- for standard input; may be repeated")
      .type_name("TEXT|@FILE|-")
      .one_value();
}

void add_tracker_options(CommandOptions& app, std::string& tracker,
                         snapshot::TrackerOptions& options, const std::string& description) {
  app.add_option("--tracker", tracker, description + "; `stasis doctor` lists them")
      .type_name("NAME");
  add_count(app, "--unprotect-pages", options.unprotect_pages, snapshot::kUnprotectPagesMax,
            "Pages that one fault makes writable, for trackers by protection");
  add_count(
      app, "--ring-entries", options.ring_entries, snapshot::kRingEntriesMax,
      "Pages that a vCPU notes before it must stop, for dirty-ring; 0 is what the host allows");
  add_size(app, "--expect-dirty", options.expected_dirty_bytes,
           "How much the guest will write, for --tracker auto [1 % of its memory]");
}

void prepare_auto_tracker(const Capabilities& capabilities, const WriteOptions& write,
                          snapshot::TrackerOptions& options) {
  options.costs = session::known_costs(capabilities).costs;
  options.use = write.live ? snapshot::TrackerUse::kLiveSaves : snapshot::TrackerUse::kPausedSaves;
}

void add_write_options(CommandOptions& app, WriteOptions& target) {
  add_choice<std::optional<snapshot::Layout>>(
      app, "--layout", target.layout,
      {{"mappable", snapshot::Layout::kMappable}, {"packed", snapshot::Layout::kPacked}},
      "Order of the pages in the memory file [mappable; packed with --compress lz4]");
  add_choice<snapshot::Codec>(app, "--compress", target.codec,
                              {{"none", snapshot::Codec::kNone}, {"lz4", snapshot::Codec::kLz4}},
                              "Compression of stored pages");
  add_size(app, "--chunk", target.chunk_bytes, "Unit of checksums and compression, 4K to 2M");
  add_count(app, "--save-threads", target.threads, 64, "Threads that write the snapshot");
  app.add_flag("--force", target.force, "Replace a snapshot of the same name");
}

void add_live_options(CommandOptions& app, WriteOptions& target) {
  app.add_flag("--live", target.live,
               "Save while the guest runs: it stands still only until its vCPUs are saved and its "
               "memory is armed");
  app.add_option(
         "--live-by", target.live_options.mechanism,
         "How pages are kept for a live save: userfaultfd, fork, protection, or auto [auto]")
      .type_name("NAME");
  add_size(app, "--live-buffer", target.live_options.buffer_bytes,
           "Overwritten pages that a live save keeps at most");
  add_choice<snapshot::WhenFull>(
      app, "--live-when-full", target.live_options.when_full,
      {{"slow", snapshot::WhenFull::kSlow}, {"abort", snapshot::WhenFull::kAbort}},
      "When they are so many: the guest waits for the writer, or the save is given up");
}

snapshot::Layout layout_of(const WriteOptions& options) {
  const bool compressed = options.codec != snapshot::Codec::kNone;
  return options.layout.value_or(compressed ? snapshot::Layout::kPacked
                                            : snapshot::Layout::kMappable);
}

Result<std::uint32_t> chunk_bytes_of(const WriteOptions& options) {
  constexpr std::uint64_t kMin = 4096;
  const std::uint64_t bytes = options.chunk_bytes;
  if (bytes < kMin || bytes > snapshot::kChunkBytesMax || (bytes & (bytes - 1)) != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 fmt::format("--chunk {}: chunks are powers of two from 4 KiB to 2 MiB", bytes)};
  }
  return static_cast<std::uint32_t>(bytes);
}

}  // namespace stasis::cli
