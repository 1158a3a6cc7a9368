#include "session/snapshot_series.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "core/text.h"
#include "snapshot/file_system.h"
#include "snapshot/operations.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session {
namespace {

using snapshot::SeriesMember;

constexpr std::size_t kDigits = 6;
// Removed snapshots whose files are not gone yet: more of them, and a disk that is slow to free its
// blocks would fill.
constexpr std::size_t kBacklogMax = 4;

// The number of a member's directory; nothing for any other name.
std::optional<std::uint64_t> number_of(const std::string& name) {
  std::uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == end;
  return whole && name.size() >= kDigits && number > 0 ? std::optional(number) : std::nullopt;
}

Result<std::vector<std::string>> names_in(const std::string& directory) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const auto kind, files.status(directory));
  return kind ? files.list_directory(directory) : std::vector<std::string>();
}

// What an earlier series left, ascending.
Result<std::vector<SeriesMember>> read_members(const std::string& directory) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const std::vector<std::string> names, names_in(directory));
  std::vector<SeriesMember> members;
  for (const std::string& name : names) {
    const std::optional<std::uint64_t> number = number_of(name);
    if (!number) {
      continue;
    }
    auto chain = snapshot::SnapshotChain::open(files, snapshot::join_path(directory, name));
    if (!chain) {
      return std::move(chain).error().with_context(
          "continue the series in '" + directory +
          "': remove what cannot be restored any more, or choose another directory");
    }
    const snapshot::SnapshotReader& reader = (*chain)->leaf();
    members.push_back({.number = *number,
                       .stored_bytes = reader.manifest_file_bytes() + reader.payload().size_bytes(),
                       .is_full = !reader.manifest().parent});
  }
  std::sort(members.begin(), members.end(),
            [](const SeriesMember& a, const SeriesMember& b) { return a.number < b.number; });
  return members;
}

}  // namespace

Result<void> check_series(const SeriesOptions& options) {
  if (options.rules.keep == 0 || options.rules.depth_max == 0) {
    return Error{Errc::kInvalidArgument, 0, "a series keeps at least one snapshot"};
  }
  if (options.rules.depth_max >= snapshot::kChainDepthMax) {
    return Error{Errc::kInvalidArgument, 0,
                 "a series' chains may be at most " + std::to_string(snapshot::kChainDepthMax - 1) +
                     " deep"};
  }
  STASIS_ASSIGN(const std::vector<std::string> names, names_in(options.directory));
  const bool empty = std::all_of(names.begin(), names.end(),
                                 [](const std::string& name) { return name.front() == '.'; });
  if (!empty && !options.save.replace_existing) {
    return Error{Errc::kAlreadyExists, 0,
                 "'" + options.directory +
                     "' is not empty: choose another directory, or ask for the series in it to be "
                     "continued"};
  }
  return {};
}

SnapshotSeries::SnapshotSeries(Session& session, SeriesOptions options,
                               std::unique_ptr<Disposal> disposal)
    : session_(session), options_(std::move(options)), disposal_(std::move(disposal)) {
  options_.save.dispose = [this](std::string directory) { disposal_->take(std::move(directory)); };
}

Result<std::unique_ptr<SnapshotSeries>> SnapshotSeries::begin(Session& session,
                                                              SeriesOptions options) {
  STASIS_TRY(check_series(options));
  auto made = snapshot::posix_file_system().create_directory(options.directory);
  if (!made && made.error().code != Errc::kAlreadyExists) {
    return std::move(made).error();
  }
  STASIS_ASSIGN(std::unique_ptr<Disposal> disposal, Disposal::start());
  std::unique_ptr<SnapshotSeries> series(
      new SnapshotSeries(session, std::move(options), std::move(disposal)));
  snapshot::FileSystem& files = snapshot::posix_file_system();
  for (std::string& leftover : snapshot::leftovers_in(files, series->options_.directory)) {
    series->disposal_->take(std::move(leftover));
  }
  STASIS_ASSIGN(series->members_, read_members(series->options_.directory));
  series->note_disk(0);
  return series;
}

std::string SnapshotSeries::path_of(std::uint64_t number) const {
  const std::string digits = std::to_string(number);
  const std::size_t zeros = kDigits - std::min(kDigits, digits.size());
  return snapshot::join_path(options_.directory, std::string(zeros, '0') + digits);
}

Result<SaveReport> SnapshotSeries::save() {
  disposal_->await_at_most(kBacklogMax);
  const std::uint64_t number = members_.empty() ? 1 : members_.back().number + 1;
  const std::string path = path_of(number);
  SaveOptions save = options_.save;
  save.replace_existing = false;
  save.kind = begun_ ? SaveKind::kDiff : SaveKind::kFull;
  if (!begun_) {  // Later ones find it armed: a collection arms again.
    save.then_track = options_.tracker;
    save.tracker_options = options_.tracker_options;
  }
  STASIS_ASSIGN(SaveReport saved, session_.save(path, save));
  members_.push_back({.number = number, .stored_bytes = saved.written_bytes, .is_full = !begun_});
  begun_ = true;
  ++report_.saved;
  report_.newest = path;
  report_.saved_bytes += saved.written_bytes;
  report_.paused_ns.push_back(saved.paused_ns);
  note_disk(0);
  if (is_flattening_due(members_, options_.rules)) {
    STASIS_TRY(flatten_newest());
  }
  STASIS_TRY(remove_old());
  return saved;
}

Result<void> SnapshotSeries::flatten_newest() {
  SeriesMember& newest = members_.back();
  auto flattened = session_.flatten_parent(options_.save);
  if (!flattened) {
    return std::move(flattened).error().with_context("flatten '" + path_of(newest.number) + "'");
  }
  note_disk(flattened->written_bytes);  // Both stood there for a moment.
  newest.stored_bytes = flattened->written_bytes;
  newest.is_full = true;
  ++report_.flattened;
  report_.flattened_bytes += flattened->written_bytes;
  report_.flatten_ns += flattened->write_ns;
  return {};
}

Result<void> SnapshotSeries::remove_old() {
  for (const std::uint64_t number : removable(members_, options_.rules)) {
    STASIS_ASSIGN(std::string hidden,
                  snapshot::hide(snapshot::posix_file_system(), path_of(number)));
    disposal_->take(std::move(hidden));
    // They are the first ones: an error leaves a list that is true.
    members_.erase(members_.begin());
    ++report_.removed;
  }
  note_disk(0);
  return {};
}

void SnapshotSeries::note_disk(std::uint64_t being_written_bytes) {
  report_.disk_bytes = 0;
  for (const SeriesMember& member : members_) {
    report_.disk_bytes += member.stored_bytes;
  }
  report_.disk_bytes_max =
      std::max(report_.disk_bytes_max, report_.disk_bytes + being_written_bytes);
  report_.kept =
      static_cast<std::uint32_t>(std::min<std::size_t>(options_.rules.keep, members_.size()));
}

}  // namespace stasis::session
