// What cells with a profile's guest have in common.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "experiments/workload/profile_trials.h"

namespace stasis::experiments {

TrialRequest profile_request(std::string kind, const Profile& profile, std::uint64_t seed) {
  return {.kind = std::move(kind),
          .parameters = {{"profile", to_json_text(profile)}, {"seed", std::to_string(seed)}}};
}

std::string add_profile_snapshot(CellBuilder& builder, const Profile& profile, std::uint64_t seed,
                                 bool recorded) {
  std::string name = "profile-" + profile.name;
  std::replace(name.begin(), name.end(), '/', '-');
  TrialRequest made = profile_request("prepare_profile", profile, seed);
  made.parameters["out"] = kScratchPrefix + name;
  made.parameters["memory_bytes"] = bytes_of(profile.memory_mib);
  builder.prepare("the snapshot of " + profile.name, name, std::move(made));
  if (recorded) {
    TrialRequest record = profile_request("record_profile", profile, seed);
    record.parameters["snapshot"] = kScratchPrefix + name;
    builder.prepare("the working set of " + profile.name, name + "/working-set.capnp",
                    std::move(record));
  }
  return name;
}

Factors profile_factors(const Profile& profile, std::uint64_t seed) {
  return {{"profile", profile.name},
          {"memory", size_name(profile.memory_mib)},
          {"pages", std::to_string(profile.pages)},
          {"mean_run", fmt::format("{:g}", profile.mean_run)},
          {"unique", std::to_string(profile.unique_pages)},
          {"zero", fmt::format("{:.3g}", profile.zero_fraction)},
          {"compression", fmt::format("{:g}", profile.compression_ratio)},
          {"write", fmt::format("{:g}", profile.write_fraction)},
          {"profile_seed", std::to_string(seed)}};
}

}  // namespace stasis::experiments
