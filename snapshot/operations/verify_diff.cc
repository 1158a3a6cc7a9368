// The completeness oracle: whether a differential snapshot holds all that changed since its parent,
// judged by a full snapshot of the same moment.
#include <algorithm>
#include <string>
#include <string_view>

#include "snapshot/operations.h"

namespace stasis::snapshot {
namespace {

// What `manifest` itself says of memory: everything that it does not take from its parent.
GpaRanges held_by(const Manifest& manifest) {
  GpaRanges held;
  for (const Extent& extent : manifest.extents) {
    if (extent.kind != ExtentKind::kInherited) {
      held.push_back(extent.range);
    }
  }
  return normalize(std::move(held));
}

// A time-stamp counter goes on while its vCPU is paused: two looks in one pause differ.
bool is_machine_state(const FieldDifference& field) {
  const std::string_view name = field.name;
  return (name.starts_with("vcpu") && !name.ends_with(".tsc")) || name.starts_with("device.");
}

}  // namespace

Result<CompletenessReport> verify_diff(FileSystem& file_system, const SnapshotChain& difference,
                                       const SnapshotChain& full, std::uint32_t threads,
                                       const Supervision& supervision) {
  if (difference.depth() < 2) {
    return Error{Errc::kInvalidArgument, 0,
                 "'" + difference.leaf().path() +
                     "' is a full snapshot: there is no difference "
                     "to verify"};
  }
  STASIS_ASSIGN(const std::unique_ptr<SnapshotChain> parent,
                SnapshotChain::open(file_system, difference.at(1).path()));
  STASIS_ASSIGN(DiffReport against_full, diff(difference, full, threads, supervision));
  if (!against_full.only_in_a.empty() || !against_full.only_in_b.empty()) {
    return Error{Errc::kMismatch, 0,
                 "'" + difference.leaf().path() + "' and '" + full.leaf().path() +
                     "' do not have the same guest memory: they are of different guests"};
  }
  STASIS_ASSIGN(const DiffReport against_parent, diff(*parent, full, threads, supervision));
  CompletenessReport report;
  report.page_size_bytes = difference.manifest().page_size_bytes;
  report.changed = against_parent.pages;
  report.reported = held_by(difference.manifest());
  report.missed = subtract(against_full.pages, report.reported);
  report.wrong = intersect(against_full.pages, report.reported);
  report.unchanged = subtract(report.reported, report.changed);
  std::copy_if(against_full.fields.begin(), against_full.fields.end(),
               std::back_inserter(report.state), is_machine_state);
  return report;
}

}  // namespace stasis::snapshot
