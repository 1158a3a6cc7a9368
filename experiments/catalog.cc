#include "experiments/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/names.h"
#include "experiments/dirty_tracking/dirty_tracking.h"
#include "experiments/full_vs_diff/full_vs_diff.h"
#include "experiments/policy_matrix/policy_matrix.h"
#include "experiments/reset_loop/reset_loop.h"
#include "experiments/restore_latency/cells.h"
#include "experiments/restore_scaling/restore_scaling.h"
#include "experiments/workload/profile.h"
#include "experiments/ws_characterize/ws_characterize.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::experiments {
namespace {

using Names = std::vector<std::string>;

// "no tracker 'x'; did you mean 'y'? There are: ..."
Error unknown(std::string_view what, std::string_view name, std::span<const std::string_view> known,
              Errc code) {
  const std::string_view closest = closest_name(name, known);
  return Error{
      .code = code,
      .message = fmt::format("no {} is called '{}'{} there are: {}", what, name,
                             closest.empty() ? ";" : fmt::format("; did you mean '{}'?", closest),
                             join_names(known))};
}

// Every name is one of `known` and works here, and none is there twice.
Result<void> check_names(std::string_view what, const Names& wanted,
                         std::span<const Availability> known) {
  std::vector<std::string_view> names;
  names.reserve(known.size());
  for (const Availability& each : known) {
    names.emplace_back(each.name);
  }
  for (auto name = wanted.begin(); name != wanted.end(); ++name) {
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const Availability& each) { return each.name == *name; });
    if (found == known.end()) {
      return unknown(what, *name, names, Errc::kInvalidArgument);
    }
    if (!found->available) {
      return Error{
          .code = Errc::kNotSupported,
          .message = fmt::format("the {} '{}' does not work here: {}", what, *name, found->reason)};
    }
    if (std::find(wanted.begin(), name, *name) != name) {
      return Error{.code = Errc::kInvalidArgument,
                   .message = fmt::format("the {} '{}' is named twice", what, *name)};
    }
  }
  return {};
}

Result<void> check_taken(const Definition& definition, const Names& wanted, bool takes,
                         std::string_view option) {
  if (!wanted.empty() && !takes) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = fmt::format("the experiment '{}' does not vary {}; leave {} out",
                                        definition.name, option.substr(2), option)};
  }
  return {};
}

}  // namespace

std::span<const Definition* const> all_experiments() {
  static const std::array<const Definition*, 8> all = {
      &floor_definition(),           &restore_latency_definition(), &restore_scaling_definition(),
      &full_vs_diff_definition(),    &dirty_tracking_definition(),  &reset_loop_definition(),
      &ws_characterize_definition(), &policy_matrix_definition()};
  return all;
}

Result<const Definition*> find_experiment(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Definition* definition : all_experiments()) {
    if (name == definition->name) {
      return definition;
    }
    names.push_back(definition->name);
  }
  return unknown("experiment", name, names, Errc::kNotFound);
}

std::vector<CheckOutcome> check_rows(const Plan& plan, const RowTable& table) {
  const auto definition = find_experiment(plan.experiment);
  return definition && (*definition)->check != nullptr ? (*definition)->check(plan, table)
                                                       : std::vector<CheckOutcome>{};
}

Result<Selection> settle_selection(const Definition& definition, const Selection& wanted,
                                   const Capabilities& capabilities) {
  STASIS_TRY(check_taken(definition, wanted.policies, definition.takes_policies, "--policies"));
  STASIS_TRY(check_taken(definition, wanted.trackers, definition.takes_trackers, "--trackers"));
  STASIS_TRY(check_taken(definition, wanted.profiles, definition.takes_profiles, "--profiles"));
  STASIS_TRY(check_names("restore policy", wanted.policies, snapshot::list_policies(capabilities)));
  STASIS_TRY(check_names("tracker", wanted.trackers, snapshot::list_trackers(capabilities)));
  if (!wanted.profiles.empty()) {
    STASIS_TRY(find_profiles(wanted.profiles));
  }
  return wanted;
}

}  // namespace stasis::experiments
