#include "tests/snapshot/behaviour/twice_saved.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace stasis::snapshot::testing {

Result<void> TwiceSaved::save_parent() {
  CaptureOptions full = options(nullptr);
  full.writer.replace_existing = true;
  parent_ = "/parent";
  STASIS_TRY(capture_full(machine_, files_, parent_, full));
  return {};
}

Result<CompletenessReport> TwiceSaved::save_twice(DirtyAccumulator& dirty) {
  STASIS_ASSIGN(const auto parent, SnapshotChain::open(files_, parent_));
  const std::string difference = "/difference" + std::to_string(count_);
  const std::string full = "/full" + std::to_string(count_);
  ++count_;
  STASIS_TRY(capture_diff(machine_, dirty, files_, difference, options(parent.get())));
  STASIS_TRY(capture_full(machine_, files_, full, options(nullptr)));
  STASIS_ASSIGN(const auto difference_chain, SnapshotChain::open(files_, difference));
  STASIS_ASSIGN(const auto full_chain, SnapshotChain::open(files_, full));
  parent_ = full;
  return verify_diff(files_, *difference_chain, *full_chain, 1, {});
}

CaptureOptions TwiceSaved::options(const SnapshotChain* parent) {
  CaptureOptions options;
  options.creator = "completeness test";
  options.writer.parent = parent;
  options.writer.threads = 1;
  options.writer.layout = Layout::kPacked;
  return options;
}

std::uint32_t completeness_epochs(std::uint32_t few) {
  std::uint32_t count = few;
  if (const char* const text = std::getenv("STASIS_COMPLETENESS_EPOCHS"); text != nullptr) {
    const std::string_view digits(text);
    std::from_chars(digits.data(), digits.data() + digits.size(), count);
  }
  return count;
}

}  // namespace stasis::snapshot::testing
