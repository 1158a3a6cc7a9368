// What a profile's guest has in its pages.
#include <fmt/format.h>

#include <algorithm>

#include "experiments/floor/floors.h"
#include "experiments/harness/workload.h"
#include "experiments/workload/generator.h"
#include "guests/programs/pagetoucher_content.h"

namespace stasis::experiments {
namespace {

namespace content = guest::pagetoucher;

constexpr std::size_t kChunkBytes = std::size_t{64} << 10U;
constexpr std::uint64_t kSamplePages = 256;
constexpr std::uint64_t kSeedMax = 1'000'000;

// How well LZ4 compresses pages that the guest fills so.
double ratio_of(content::Kind kind, std::uint64_t seed) {
  std::vector<std::uint64_t> words(kSamplePages * content::kPageWords);
  for (std::uint64_t page = 0; page < kSamplePages; ++page) {
    content::fill_page(&words[page * content::kPageWords], page, seed, kind);
  }
  const Lz4Image image = compress_chunks(std::as_bytes(std::span(words)), kChunkBytes);
  return static_cast<double>(image.raw_bytes) / static_cast<double>(image.stored_bytes);
}

}  // namespace

Result<std::vector<std::string>> fill_requests(const Profile& profile, std::uint64_t seed) {
  // Of incompressible pages and of text, as many as give the ratio together: stored bytes add up.
  const double text_ratio = ratio_of(content::Kind::kText, seed);
  if (profile.compression_ratio > text_ratio) {
    return Error{
        .code = Errc::kInvalidArgument,
        .message = fmt::format("profile '{}': compression_ratio {} is more than the {:.2f} of "
                               "the best content that the guest can write",
                               profile.name, profile.compression_ratio, text_ratio)};
  }
  const double text_share = (1 - 1 / profile.compression_ratio) / (1 - 1 / text_ratio);
  // What pagetoucher does not number is nearly all zero, and counts.
  const auto total_mib = static_cast<double>(profile.memory_mib);
  const auto usable = static_cast<double>(usable_mib(profile.memory_mib));
  const double zero_share =
      std::clamp((profile.zero_fraction * total_mib - (total_mib - usable)) / usable, 0.0, 1.0);
  // Spread evenly over memory, a MiB at a time: pages of one kind among others of another would
  // make small chunks, which compress less.
  std::vector<std::string> requests;
  double zero_owed = 0;
  double text_owed = 0;
  for (std::uint64_t mib = 0; mib < usable_mib(profile.memory_mib); ++mib) {
    zero_owed += zero_share;
    if (zero_owed >= 0.5) {
      zero_owed -= 1;
      continue;  // Memory begins as zeros.
    }
    text_owed += text_share;
    const bool is_text = text_owed >= 0.5;
    text_owed -= is_text ? 1 : 0;
    requests.push_back(fmt::format("fill 1 seed={} kind={} begin={}", seed % kSeedMax,
                                   is_text ? "text" : "random", mib * kPagesPerMib));
  }
  return requests;
}

}  // namespace stasis::experiments
