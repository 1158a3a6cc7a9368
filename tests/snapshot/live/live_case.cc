#include "tests/snapshot/live/live_case.h"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>

namespace stasis::snapshot::testing {

LiveCase::LiveCase(Machine& machine) : machine_(machine) {
  files_.before = [this](std::string_view operation, const std::string& path) -> Result<void> {
    // Of the live one; the still one lies in "/.still...".
    if (operation != "create" || !path.ends_with("/memory") || path.starts_with("/.still")) {
      return {};
    }
    while (waits_for_writes_ && !over_.load()) {
      const LiveCapture* const capture = running_.load();
      if (capture != nullptr &&
          (capture->mechanism() == "fork" || capture->counters().write_faults > 0)) {
        break;
      }
      std::this_thread::yield();
    }
    return {};
  };
}

CaptureOptions LiveCase::options(const SnapshotChain* parent) {
  CaptureOptions options;
  options.creator = "live capture test";
  options.writer.parent = parent;
  options.writer.threads = 2;
  options.writer.layout = Layout::kPacked;
  options.writer.replace_existing = true;
  return options;
}

Result<void> LiveCase::capture(const std::string& target, const std::string& beside,
                               const SnapshotChain* parent) {
  LiveRequest request;
  request.target = target;
  request.capture = options(parent);
  request.live = live;
  request.dirty = dirty;
  request.tracker = tracker;
  request.at_the_moment = [this, &beside]() -> Result<void> {
    STASIS_TRY(capture_full(machine_, files_, beside, options(nullptr)));
    return {};
  };
  over_.store(false);
  auto capture = LiveCapture::begin(machine_, files_, std::move(request));
  if (!capture) {
    return std::move(capture).error();
  }
  running_.store(capture->get());
  if (meanwhile) {
    meanwhile();
  }
  Result<LiveReport> report = (*capture)->finish();
  running_.store(nullptr);
  over_.store(true);
  STASIS_ASSIGN(last_, std::move(report));
  return {};
}

Result<DiffReport> LiveCase::full_pair() {
  STASIS_TRY(capture("/live", "/still", nullptr));
  STASIS_ASSIGN(const auto a, SnapshotChain::open(files_, "/live"));
  STASIS_ASSIGN(const auto b, SnapshotChain::open(files_, "/still"));
  STASIS_TRY(verify(files_, "/live", 1, {}));
  STASIS_ASSIGN(DiffReport report, diff(*a, *b, 1, {}));
  // Goes on in a pause, too: the two were read one after the other.
  std::erase_if(report.fields,
                [](const FieldDifference& field) { return field.name.ends_with(".tsc"); });
  return report;
}

Result<void> LiveCase::save_parent() {
  parent_ = "/parent";
  STASIS_TRY(capture_full(machine_, files_, parent_, options(nullptr)));
  return dirty->arm();
}

Result<CompletenessReport> LiveCase::diff_pair() {
  STASIS_ASSIGN(const auto parent, SnapshotChain::open(files_, parent_));
  const std::string target = "/difference" + std::to_string(count_++);
  STASIS_TRY(capture(target, "/still", parent.get()));
  STASIS_ASSIGN(const auto difference, SnapshotChain::open(files_, target));
  STASIS_ASSIGN(const auto full, SnapshotChain::open(files_, "/still"));
  parent_ = target;
  return verify_diff(files_, *difference, *full, 1, {});
}

std::uint32_t live_captures(std::uint32_t few) {
  std::uint32_t count = few;
  if (const char* const text = std::getenv("STASIS_LIVE_CAPTURES"); text != nullptr) {
    const std::string_view digits(text);
    std::from_chars(digits.data(), digits.data() + digits.size(), count);
  }
  return count;
}

}  // namespace stasis::snapshot::testing
