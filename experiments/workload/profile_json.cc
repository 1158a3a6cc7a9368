// Profiles as JSON: files of users, and the published figures that are built in.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "experiments/builtin_profiles.h"  // Generated: the files of experiments/profiles.
#include "experiments/workload/profile.h"

namespace stasis::experiments {
namespace {

using Json = nlohmann::ordered_json;

// Aquifer (2026) of serverless snapshots, for papers that do not say it: see profiles/README.md.
constexpr double kPublishedZeroFraction = 0.828;
// Sabre (OSDI'24), its average on differences.
constexpr double kPublishedCompression = 2.5;
constexpr double kPagesPerMegabyte = 256;
// FaaSnap says no length of runs: the middle of REAP's.
constexpr double kPublishedMeanRun = 2.4;

template <typename T>
T word_of(const Json& json, const char* field, const std::map<std::string, T>& words, T fallback) {
  if (!json.contains(field)) {
    return fallback;
  }
  const auto text = json.at(field).get<std::string>();
  const auto found = words.find(text);
  if (found == words.end()) {
    throw nlohmann::json::other_error::create(501, fmt::format("{} '{}' is not known", field, text),
                                              &json);
  }
  return found->second;
}

const std::map<std::string, DriftMode>& drift_words() {
  static const std::map<std::string, DriftMode> known_words = {{"replace", DriftMode::kReplace},
                                                               {"extend", DriftMode::kExtend}};
  return known_words;
}
const std::map<std::string, AccessOrder>& order_words() {
  static const std::map<std::string, AccessOrder> known_words = {
      {"shuffled_runs", AccessOrder::kShuffledRuns},
      {"address", AccessOrder::kAddress},
      {"shuffled", AccessOrder::kShuffled}};
  return known_words;
}

template <typename T>
std::string word_for(const std::map<std::string, T>& words, T value) {
  const auto found = std::find_if(words.begin(), words.end(),
                                  [&](const auto& entry) { return entry.second == value; });
  return found->first;
}

Profile profile_of(const Json& json) {
  static const std::vector<std::string> known_fields = {
      "name",  "source",   "memory_mib",      "zero_fraction",  "compression_ratio",
      "pages", "mean_run", "small_gap_share", "small_gap_mean", "unique_pages",
      "drift", "order",    "write_fraction"};
  for (const auto& [field, value] : json.items()) {
    if (std::find(known_fields.begin(), known_fields.end(), field) == known_fields.end()) {
      throw nlohmann::json::other_error::create(501, "field '" + field + "' is not known", &json);
    }
  }
  Profile profile;
  profile.name = json.at("name").get<std::string>();
  profile.source = json.value("source", profile.source);
  profile.memory_mib = json.value("memory_mib", profile.memory_mib);
  profile.zero_fraction = json.value("zero_fraction", profile.zero_fraction);
  profile.compression_ratio = json.value("compression_ratio", profile.compression_ratio);
  profile.pages = json.at("pages").get<std::uint64_t>();
  profile.mean_run = json.value("mean_run", profile.mean_run);
  profile.small_gap_share = json.value("small_gap_share", profile.small_gap_share);
  profile.small_gap_mean = json.value("small_gap_mean", profile.small_gap_mean);
  profile.unique_pages = json.value("unique_pages", profile.unique_pages);
  profile.drift = word_of(json, "drift", drift_words(), profile.drift);
  profile.order = word_of(json, "order", order_words(), profile.order);
  profile.write_fraction = json.value("write_fraction", profile.write_fraction);
  return profile;
}

// A function of REAP's: what was booted is not zero, and the rest is.
Profile reap_profile(const Json& function, std::uint64_t memory_mib, const std::string& paper) {
  Profile profile;
  profile.name = "reap/" + function.at("name").get<std::string>();
  profile.source = paper;
  profile.memory_mib = memory_mib;
  const auto booted = function.at("booted_mb").get<double>();
  profile.zero_fraction = std::max(0.0, 1 - booted / static_cast<double>(memory_mib));
  profile.compression_ratio = kPublishedCompression;
  profile.unique_pages = function.at("unique_pages").get<std::uint64_t>();
  profile.pages = function.at("same_pages").get<std::uint64_t>() + profile.unique_pages;
  profile.mean_run = function.at("mean_run_pages").get<double>();
  return profile;
}

// A function of FaaSnap's: the working sets of two inputs, by their size alone.
Profile faasnap_profile(const Json& function, std::uint64_t memory_mib, const std::string& paper) {
  Profile profile;
  profile.name = "faasnap/" + function.at("name").get<std::string>();
  profile.source = paper;
  profile.memory_mib = memory_mib;
  profile.zero_fraction = kPublishedZeroFraction;
  profile.compression_ratio = kPublishedCompression;
  profile.mean_run = kPublishedMeanRun;
  const auto sizes = function.at("working_set_mb").get<std::vector<double>>();
  const auto pages_of = [](double megabytes) {
    return static_cast<std::uint64_t>(std::llround(megabytes * kPagesPerMegabyte));
  };
  profile.pages = pages_of(sizes.at(0));
  profile.unique_pages = pages_of(sizes.at(1)) - std::min(profile.pages, pages_of(sizes.at(1)));
  profile.drift = DriftMode::kExtend;
  return profile;
}

void add_collection(std::string_view text,
                    Profile (*make)(const Json&, std::uint64_t, const std::string&),
                    std::vector<Profile>& profiles) {
  const Json json = Json::parse(text);
  const auto memory_mib = json.at("guest").at("memory_mib").get<std::uint64_t>();
  const auto paper = json.at("paper").get<std::string>();
  for (const Json& function : json.at("functions")) {
    profiles.push_back(make(function, memory_mib, paper));
  }
}

}  // namespace

Result<std::vector<Profile>> profiles_from_json(std::string_view text, const std::string& path) {
  try {
    const Json json = Json::parse(text);
    std::vector<Profile> profiles;
    if (json.contains("profiles")) {
      for (const Json& each : json.at("profiles")) {
        profiles.push_back(profile_of(each));
      }
    } else {
      profiles.push_back(profile_of(json));
    }
    return profiles;
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kCorruption,
                 .message = path + ": not a profile: " + exception.what()};
  }
}

std::string to_json_text(const Profile& profile) {
  const Json json{{"name", profile.name},
                  {"source", profile.source},
                  {"memory_mib", profile.memory_mib},
                  {"zero_fraction", profile.zero_fraction},
                  {"compression_ratio", profile.compression_ratio},
                  {"pages", profile.pages},
                  {"mean_run", profile.mean_run},
                  {"small_gap_share", profile.small_gap_share},
                  {"small_gap_mean", profile.small_gap_mean},
                  {"unique_pages", profile.unique_pages},
                  {"drift", word_for(drift_words(), profile.drift)},
                  {"order", word_for(order_words(), profile.order)},
                  {"write_fraction", profile.write_fraction}};
  return json.dump();
}

const std::vector<Profile>& builtin_profiles() {
  static const std::vector<Profile> parsed = [] {
    std::vector<Profile> profiles;
    add_collection(kReapProfiles, reap_profile, profiles);
    add_collection(kFaasnapProfiles, faasnap_profile, profiles);
    return profiles;
  }();
  return parsed;
}

}  // namespace stasis::experiments
