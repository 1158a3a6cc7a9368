#include "snapshot/trackers/tracker_models.h"

#include <algorithm>
#include <array>

namespace stasis::snapshot {
namespace {

struct Model {
  std::string_view name;
  TrackerCosts costs;
  std::string_view preference;  // Why it stands where it does; empty: never taken by "auto".
};

// In the order of preference: first by what a guest's first write to a page costs, which every
// guest pays; then by what grows with memory rather than with what was written. What names pages
// that nobody wrote comes last, because a larger snapshot costs more than a tracker saves.
constexpr std::array<Model, 12> kModels{{
    {"dirty-log",
     {"by mapped pages", "a fault in the hypervisor",
      "by memory, a bit a page, and by pages written"},
     "the hypervisor logs guest writes itself, without an exit for each page"},
    {"pagemap-scan",
     {"by memory", "a fault in the kernel", "by present pages, and by pages written"},
     "the kernel marks written pages by itself; collecting looks at every page that is there"},
    {"protection",
     {"by memory", "an exit, or a fault that another thread answers", "by pages written"},
     "each page's first write is an exit, or a fault that another thread answers"},
    {"compare-hash",
     {"every page is read", "nothing", "every page is read"},
     "needs nothing of the host, and reads every page"},
    {"fork",
     {"by present pages of the whole process", "a fault in the kernel that copies the page",
      "by present pages of the whole process, and by pages written, which are compared"},
     ""},
    {"compare", {"every page is read and copied", "nothing", "every page is read twice"}, ""},
    {"zero-scan", {"every page is read", "nothing", "every page is read"}, ""},
    {"residency", {"by memory, an entry a page", "nothing", "by memory, an entry a page"}, ""},
    {"userfaultfd", {"by memory", "a fault that another thread answers", "by pages written"}, ""},
    {"soft-dirty",
     {"by present pages of the whole process", "a fault in the kernel",
      "by memory, an entry a page, and by present pages of the whole process"},
     ""},
    {"dirty-log-manual",
     {"by memory", "a fault in the hypervisor", "by memory, a bit a page, and by pages written"},
     ""},
    {"dirty-ring",
     {"by mapped pages", "a fault in the hypervisor; an exit whenever a ring is full",
      "by pages written"},
     ""},
}};

const Model* find(std::string_view name) {
  const auto* const found = std::find_if(kModels.begin(), kModels.end(),
                                         [&](const Model& model) { return model.name == name; });
  return found == kModels.end() ? nullptr : found;
}

}  // namespace

TrackerCosts tracker_costs(std::string_view name) {
  const Model* const model = find(name);
  return model == nullptr ? TrackerCosts{} : model->costs;
}

std::span<const std::string_view> tracker_preference() {
  static const std::vector<std::string_view> preference = [] {
    std::vector<std::string_view> names;
    for (const Model& model : kModels) {
      if (!model.preference.empty()) {
        names.push_back(model.name);
      }
    }
    return names;
  }();
  return preference;
}

std::string_view preference_reason(std::string_view name) {
  const Model* const model = find(name);
  return model == nullptr ? std::string_view{} : model->preference;
}

std::vector<TrackerChoice> rank_trackers(std::span<const Availability> trackers) {
  std::vector<TrackerChoice> ranked;
  for (const std::string_view name : tracker_preference()) {
    const bool is_here = std::any_of(trackers.begin(), trackers.end(), [&](const Availability& t) {
      return t.name == name && t.available;
    });
    if (is_here) {
      ranked.push_back({std::string(name), std::string(preference_reason(name))});
    }
  }
  if (ranked.empty()) {
    ranked.push_back({"compare-hash", "needs nothing of the host, and reads every page"});
  }
  return ranked;
}

TrackerChoice choose_tracker(std::span<const Availability> trackers) {
  return rank_trackers(trackers).front();
}

}  // namespace stasis::snapshot
