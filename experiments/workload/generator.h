// From a profile to the pages that each input touches: the same for the same seed everywhere, so
// that two policies meet the same accesses.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "experiments/workload/profile.h"

namespace stasis::experiments {

// One visit to a page, by its number (guests/programs/pagetoucher). Value.
struct Access {
  std::uint64_t page = 0;
  bool is_write = false;
  friend bool operator==(const Access&, const Access&) = default;
};

// What two inputs touch. Value.
struct Accesses {
  std::vector<Access> first, second;  // Each page once.
};

// The profile passes check_profile(). The numbers of pages, runs, gaps and unique pages are those
// of the profile exactly, as far as they are whole; only where they lie is drawn.
//
//   runs      as many as the mean says; their lengths are a random composition of the pages, which
//   is
//             what geometric lengths are, given their sum
//   gaps      small ones (a share of all, with their mean) inside clusters, and between clusters
//   what
//             memory is left, in pieces of very different length
//   drift     the second input leaves out whole runs and has new ones, near those of the first
//   order     as the profile says, by the seed
Accesses generate(const Profile& profile, std::uint64_t seed);

// The requests to pagetoucher that make these accesses: binary lists, each as large as a mailbox
// holds at the most.
std::vector<std::vector<std::byte>> requests_for(std::span<const Access> accesses);

// The requests that give the guest's pages their contents: zero pages and such that compress as the
// profile says, spread over all of memory. kInvalidArgument if LZ4 compresses no content that the
// guest can write as well as that.
Result<std::vector<std::string>> fill_requests(const Profile& profile, std::uint64_t seed);

}  // namespace stasis::experiments
