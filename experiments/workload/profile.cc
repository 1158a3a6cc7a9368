#include "experiments/workload/profile.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "core/names.h"
#include "experiments/harness/text_file.h"
#include "experiments/harness/workload.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kMemoryMibMin = 16;
constexpr std::uint64_t kMemoryMibMax = 3072;
// Before the first run and behind the last one, and what rounding adds.
constexpr double kEdgePages = 3;
// Of LZ4, whose best is below 255.
constexpr double kCompressionMax = 200;

Error impossible(const Profile& profile, const std::string& why) {
  return Error{.code = Errc::kInvalidArgument,
               .message = fmt::format("profile '{}': {}", profile.name, why)};
}

std::string collection_of(const std::string& name) {
  return name.substr(0, name.find('/'));
}

Error unknown_profile(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Profile& profile : builtin_profiles()) {
    names.emplace_back(profile.name);
  }
  std::string_view closest = closest_name(name, names);
  for (const Profile& profile : builtin_profiles()) {
    if (closest.empty() && profile.name.substr(profile.name.find('/') + 1) == name) {
      closest = profile.name;
    }
  }
  return Error{
      .code = Errc::kInvalidArgument,
      .message = fmt::format(
          "no profile is called '{}'{} there are: {}; or a file whose name ends in .json", name,
          closest.empty() ? ";" : fmt::format("; did you mean '{}'?", closest), join_names(names))};
}

// Fractions and the like.
struct Bounds {
  const char* field;
  double value, least, greatest;
};

// Those of a file, a collection, or the one of that name.
Result<std::vector<Profile>> profiles_of(const std::string& name) {
  if (name.ends_with(".json")) {
    STASIS_ASSIGN(const std::string text, read_text_file(name));
    return profiles_from_json(text, name);
  }
  std::vector<Profile> found;
  for (const Profile& profile : builtin_profiles()) {
    if (profile.name == name || collection_of(profile.name) == name) {
      found.push_back(profile);
    }
  }
  return found;
}

}  // namespace

Result<void> check_profile(const Profile& profile) {
  if (profile.memory_mib < kMemoryMibMin || profile.memory_mib > kMemoryMibMax) {
    return impossible(profile, fmt::format("memory_mib {} is not from {} to {}", profile.memory_mib,
                                           kMemoryMibMin, kMemoryMibMax));
  }
  const std::array<Bounds, 6> bounds = {
      {{"zero_fraction", profile.zero_fraction, 0, 0.99},
       {"compression_ratio", profile.compression_ratio, 1, kCompressionMax},
       {"mean_run", profile.mean_run, 1, 1e6},
       {"small_gap_share", profile.small_gap_share, 0, 1},
       {"small_gap_mean", profile.small_gap_mean, 1, 1e6},
       {"write_fraction", profile.write_fraction, 0, 1}}};
  for (const Bounds& bound : bounds) {
    if (!(bound.value >= bound.least && bound.value <= bound.greatest)) {
      return impossible(profile, fmt::format("{} {} is not from {} to {}", bound.field, bound.value,
                                             bound.least, bound.greatest));
    }
  }
  const std::uint64_t usable = usable_mib(profile.memory_mib) * kPagesPerMib;
  if (profile.pages == 0 || profile.unique_pages > profile.pages) {
    return impossible(profile, fmt::format("pages {} and unique_pages {} are not at least 1 and at "
                                           "most as many",
                                           profile.pages, profile.unique_pages));
  }
  // Runs of both inputs with a page between them.
  const double touched = static_cast<double>(profile.pages + profile.unique_pages);
  const double needed = touched * (1 + 1 / profile.mean_run) + kEdgePages;
  if (needed > static_cast<double>(usable)) {
    return impossible(
        profile, fmt::format("a working set of {} pages in runs of {:.1f} does not fit into the {} "
                             "pages that a guest of {} MiB can touch; more memory_mib would help",
                             profile.pages + profile.unique_pages, profile.mean_run, usable,
                             profile.memory_mib));
  }
  return {};
}

Result<std::vector<Profile>> find_profiles(const std::vector<std::string>& names) {
  std::vector<Profile> found;
  for (const std::string& name : names.empty() ? std::vector<std::string>{"reap"} : names) {
    STASIS_ASSIGN(const std::vector<Profile> named, profiles_of(name));
    if (named.empty()) {
      return unknown_profile(name);
    }
    found.insert(found.end(), named.begin(), named.end());
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    STASIS_TRY(check_profile(found[i]));
    for (std::size_t j = 0; j < i; ++j) {
      if (found[i].name == found[j].name) {
        return impossible(found[i], "it is named twice");
      }
    }
  }
  return found;
}

}  // namespace stasis::experiments
