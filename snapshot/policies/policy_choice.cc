#include "snapshot/policies/policy_choice.h"

#include <utility>

#include "core/text.h"

namespace stasis::snapshot {
namespace {

// Below this, decompressing all before the guest runs is a matter of few milliseconds at most, and
// serving its faults costs about as much.
constexpr std::uint64_t kCompressedBytesMin = std::uint64_t{8} << 20U;
// Below this share the storage decides, not the host's page tables.
constexpr double kCachedMin = 0.5;

std::string percent(double share) {
  return std::to_string(static_cast<int>(share * 100.0)) + " %";
}

PolicyChoice for_compressed(const ChoiceFacts& facts, std::vector<std::string> reasons) {
  reasons.push_back(describe_bytes(facts.compressed_bytes) +
                    " of memory are compressed: mapping would decompress all of them before the "
                    "guest runs");
  if (facts.tracked) {
    reasons.emplace_back(
        "a dirty tracker is armed first, and some need all of memory: missing pages gain nothing");
    return {"eager", std::move(reasons)};
  }
  if (!facts.missing_pages) {
    reasons.emplace_back("this host cannot serve missing pages (see `stasis doctor`)");
    return {"eager", std::move(reasons)};
  }
  if (facts.recorded_bytes != 0) {
    reasons.push_back("a recorded run touched " + describe_bytes(facts.recorded_bytes) +
                      ": those are decompressed first, the rest when it is touched");
    return {"compressed-ws", std::move(reasons)};
  }
  reasons.emplace_back("no run is recorded, so every page is decompressed when it is touched");
  return {"on-demand", std::move(reasons)};
}

PolicyChoice for_raw(const ChoiceFacts& facts, std::vector<std::string> reasons) {
  if (facts.compressed_bytes != 0) {
    reasons.push_back("only " + describe_bytes(facts.compressed_bytes) +
                      " of memory are compressed: they are decompressed before the guest runs");
  }
  reasons.push_back(describe_bytes(facts.raw_bytes) +
                    " of memory are raw: the host can map them, which costs the same for any size");
  if (facts.recorded_bytes == 0) {
    reasons.emplace_back("no run is recorded, so there is nothing to bring in beforehand");
    return {"lazy", std::move(reasons)};
  }
  if (facts.tracked) {
    reasons.emplace_back(
        "under a dirty tracker nothing is brought in: it might be taken for writes");
    return {"lazy", std::move(reasons)};
  }
  if (facts.cached && *facts.cached < kCachedMin) {
    reasons.push_back(percent(*facts.cached) +
                      " of what a recorded run touched is in the page cache: the storage is asked "
                      "for the rest while the guest begins");
    return {"faasnap", std::move(reasons)};
  }
  reasons.push_back((facts.cached ? percent(*facts.cached) : std::string("an unknown share")) +
                    " of what a recorded run touched is in the page cache: its pages are put into "
                    "the page table while the guest begins");
  return {"working-set", std::move(reasons)};
}

}  // namespace

ChoiceFacts facts_of(const PlanInput& input) {
  ChoiceFacts facts;
  for (const SourceExtent& source : input.extents) {
    facts.raw_bytes += source.extent.kind == ExtentKind::kRaw ? source.range.size : 0;
    facts.compressed_bytes += source.extent.kind == ExtentKind::kLz4 ? source.range.size : 0;
  }
  const auto& record = input.touched ? input.touched : input.trace;
  if (record) {
    for (const PopulatePiece& piece : *record) {
      facts.recorded_bytes += piece.range.size;
    }
  }
  return facts;
}

PolicyChoice choose_policy(const ChoiceFacts& facts) {
  if (facts.raw_bytes == 0 && facts.compressed_bytes == 0) {
    return {"lazy", {"nothing is stored: all of memory is zero"}};
  }
  return facts.compressed_bytes >= kCompressedBytesMin ? for_compressed(facts, {})
                                                       : for_raw(facts, {});
}

}  // namespace stasis::snapshot
