// What a function does to memory, as numbers: the size of its guest, what that holds, which of its
// pages a request touches, and how another input's pages differ. Published figures become profiles
// (experiments/profiles), and so can anything that was measured.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace stasis::experiments {

// How an input differs from the one before.
enum class DriftMode : std::uint8_t {
  kReplace,  // As many pages are no longer touched as new ones are.
  kExtend,   // New ones are added.
};

enum class AccessOrder : std::uint8_t {
  kShuffledRuns,  // Runs in random order, each from its first page to its last.
  kAddress,       // Ascending.
  kShuffled,      // Every page at random.
};

// Pages are of 4 KiB. Value.
struct Profile {
  std::string name;    // "reap/helloworld"
  std::string source;  // Where the numbers are from.
  std::uint64_t memory_mib = 256;
  double zero_fraction = 0.5;      // Of the guest's pages.
  double compression_ratio = 2.5;  // Of its other pages, by LZ4.

  std::uint64_t pages = 1;         // Of the working set of one input.
  double mean_run = 2.4;           // Pages that follow each other.
  double small_gap_share = 0.9;    // Of the gaps between runs: those inside a cluster...
  double small_gap_mean = 2.5;     // ...and how many pages they are long on average.
  std::uint64_t unique_pages = 0;  // Touched by the second input and not by the first.
  DriftMode drift = DriftMode::kReplace;
  AccessOrder order = AccessOrder::kShuffledRuns;
  double write_fraction = 0.3;  // Of the pages that are touched.
};

// kInvalidArgument, naming the field and its bounds, for a profile that cannot be: a working set
// larger than its guest, for one.
Result<void> check_profile(const Profile& profile);

// The profiles that are built in, from experiments/profiles: "reap/helloworld", "faasnap/json", ...
// Each passes check_profile().
const std::vector<Profile>& builtin_profiles();

// Those that `names` say, in their order: a built-in one, all of a collection ("reap"), or a file
// (a name that ends in ".json") with one profile or a list of them. An empty list means all of
// "reap". kInvalidArgument for a name that does not exist (the message names them, and the one that
// was probably meant) or a profile that cannot be, kCorruption and kIo for a file.
Result<std::vector<Profile>> find_profiles(const std::vector<std::string>& names);

// A file's text, as README.md of experiments/profiles describes it. `path` is for messages.
Result<std::vector<Profile>> profiles_from_json(std::string_view text, const std::string& path);
std::string to_json_text(const Profile& profile);

}  // namespace stasis::experiments
