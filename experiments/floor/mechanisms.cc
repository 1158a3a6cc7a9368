// Which mechanism is behind which tracker.
#include <algorithm>
#include <array>

#include "experiments/floor/raw_trackers.h"

namespace stasis::experiments {
namespace {

constexpr std::array<std::string_view, 11> kMechanisms = {
    "compare",    "compare-hash", "zero-scan", "residency",        "userfaultfd", "pagemap-scan",
    "soft-dirty", "fork",         "dirty-log", "dirty-log-manual", "dirty-ring"};

}  // namespace

std::string_view mechanism_of(std::string_view tracker) {
  if (tracker == "protection") {  // Under KVM it is the same.
    return "userfaultfd";
  }
  const auto* found = std::find(kMechanisms.begin(), kMechanisms.end(), tracker);
  return found == kMechanisms.end() ? std::string_view() : *found;
}

KernelLog kernel_log_of(std::string_view mechanism) {
  return mechanism == "dirty-log"          ? KernelLog::kBitmap
         : mechanism == "dirty-log-manual" ? KernelLog::kManual
         : mechanism == "dirty-ring"       ? KernelLog::kRing
                                           : KernelLog::kNone;
}

}  // namespace stasis::experiments
