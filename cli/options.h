// Options that several commands share, with their parsing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command_options.h"
#include "session/options.h"

namespace stasis::cli {

// Adds an option whose value is parsed by parse_size() or parse_duration() into `target`, which
// keeps its value when the option is not given.
DeclaredOption add_size(CommandOptions& app, const std::string& name, std::uint64_t& target,
                        const std::string& description);
// Nothing unless it is given.
DeclaredOption add_size(CommandOptions& app, const std::string& name,
                        std::optional<std::uint64_t>& target, const std::string& description);
DeclaredOption add_duration(CommandOptions& app, const std::string& name,
                            std::chrono::nanoseconds& target, const std::string& description);
// 1 .. limit.
DeclaredOption add_count(CommandOptions& app, const std::string& name, std::uint32_t& target,
                         std::uint32_t limit, const std::string& description);

// One word of a fixed list.
template <typename T>
DeclaredOption add_choice(CommandOptions& app, const std::string& name, T& target,
                          const std::vector<std::pair<std::string, T>>& choices,
                          const std::string& description) {
  std::string words;
  std::string initial;
  for (const auto& [word, value] : choices) {
    words += (words.empty() ? "" : "|") + word;
    initial = value == target ? word : initial;
  }
  return app
      .add_option(
          name,
          [&target, choices, words](const std::string& text) -> Result<void> {
            for (const auto& [word, value] : choices) {
              if (word == text) {
                target = value;
                return {};
              }
            }
            return Error{Errc::kInvalidArgument, 0, "'" + text + "' is not one of " + words};
          },
          initial.empty() ? description : description + " [" + initial + "]")
      .type_name(words);
}

// --request, any number of times.
void add_requests(CommandOptions& app, std::vector<std::string>& target);

// --tracker and what goes with it.
void add_tracker_options(CommandOptions& app, std::string& tracker,
                         snapshot::TrackerOptions& options, const std::string& description);

// Value. How snapshots are written: --layout, --compress, --chunk, --force, --save-threads.
struct WriteOptions {
  std::optional<snapshot::Layout> layout = {};
  snapshot::Codec codec = snapshot::Codec::kNone;
  std::uint64_t chunk_bytes = 64U << 10U;
  std::uint32_t threads = 1;
  bool force = false;
  std::string full_copy = {};  // --full-copy, of differential saves alone.
  // --live, and how; nothing: the guest stands still.
  bool live = false;
  snapshot::LiveOptions live_options = {};
};
void add_write_options(CommandOptions& app, WriteOptions& target);
// --live, --live-by, --live-buffer and --live-when-full, for commands that save a guest.
void add_live_options(CommandOptions& app, WriteOptions& target);

// For a tracker that may be "auto": it decides by what is known of this host, and of how the guest
// is to be saved.
void prepare_auto_tracker(const Capabilities& capabilities, const WriteOptions& write,
                          snapshot::TrackerOptions& options);

// Mappable unless told otherwise; packed with compression, which has no mappable form.
snapshot::Layout layout_of(const WriteOptions& options);
// kInvalidArgument, naming the bounds, for a size that is not a power of two from 4 KiB to 2 MiB.
Result<std::uint32_t> chunk_bytes_of(const WriteOptions& options);

}  // namespace stasis::cli
