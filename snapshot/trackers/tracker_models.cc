#include "snapshot/trackers/tracker_models.h"

#include <algorithm>
#include <array>

namespace stasis::snapshot {
namespace {

constexpr std::array<TrackerModel, 12> kModels{{
    {.name = "dirty-log",
     .costs = {"by mapped pages", "a fault in the hypervisor",
               "by memory, a bit a page, and by pages written"},
     .arming = CostBasis::kResident,
     .merit = "the hypervisor logs guest writes itself, without an exit for each page"},
    {.name = "dirty-log-manual",
     .costs = {"by memory", "a fault in the hypervisor",
               "by memory, a bit a page, and by pages written"},
     .merit = "as dirty-log, and only what was written is protected again"},
    {.name = "pagemap-scan",
     .costs = {"by memory", "a fault in the kernel", "by present pages, and by pages written"},
     .collecting = CostBasis::kResident,
     .means = TrackerMeans::kHostMapping,
     .merit = "the kernel marks written pages by itself; collecting looks at every page that is "
              "there"},
    {.name = "protection",
     .costs = {"by memory", "an exit, or a fault that another thread answers", "by pages written"},
     .means = TrackerMeans::kProtection,
     .answers_one_by_one = true,
     .merit = "each page's first write is an exit, or a fault that another thread answers"},
    {.name = "compare-hash",
     .costs = {"every page is read", "nothing", "every page is read"},
     .means = TrackerMeans::kContents,
     .merit = "needs nothing of the host and slows no write, but reads every page"},
    {.name = "dirty-ring",
     .costs = {"by mapped pages", "a fault in the hypervisor; an exit whenever a ring is full",
               "by pages written"},
     .arming = CostBasis::kResident,
     .objection = "a VM has to be made for its rings"},
    {.name = "fork",
     .costs = {"by present pages of the whole process",
               "a fault in the kernel that copies the page",
               "by present pages of the whole process, and by pages written, which are compared"},
     .arming = CostBasis::kResident,
     .collecting = CostBasis::kResident,
     .means = TrackerMeans::kHostMapping,
     .objection = "it copies the whole process, and a page for each one written"},
    {.name = "compare",
     .costs = {"every page is read and copied", "nothing", "every page is read twice"},
     .means = TrackerMeans::kContents,
     .objection = "it keeps a copy of all memory"},
    {.name = "zero-scan",
     .costs = {"every page is read", "nothing", "every page is read"},
     .means = TrackerMeans::kContents,
     .objection = "it reports pages that nobody wrote"},
    {.name = "residency",
     .costs = {"by memory, an entry a page", "nothing", "by memory, an entry a page"},
     .means = TrackerMeans::kHostMapping,
     .objection = "it reports pages that nobody wrote"},
    {.name = "userfaultfd",
     .costs = {"by memory", "a fault that another thread answers", "by pages written"},
     .means = TrackerMeans::kHostMapping,
     .answers_one_by_one = true,
     .objection = "protection is the same where the backend cannot protect, and better where it "
                  "can"},
    {.name = "soft-dirty",
     .costs = {"by present pages of the whole process", "a fault in the kernel",
               "by memory, an entry a page, and by present pages of the whole process"},
     .arming = CostBasis::kResident,
     .means = TrackerMeans::kHostMapping,
     .objection = "its marks are the whole process's, and a huge page has one"},
}};

}  // namespace

TrackerCosts tracker_costs(std::string_view name) {
  const TrackerModel* const model = find_tracker_model(name);
  return model == nullptr ? TrackerCosts{} : model->costs;
}

std::span<const TrackerModel> tracker_models() {
  return kModels;
}

const TrackerModel* find_tracker_model(std::string_view name) {
  const auto* const found =
      std::find_if(kModels.begin(), kModels.end(),
                   [&](const TrackerModel& model) { return model.name == name; });
  return found == kModels.end() ? nullptr : found;
}

}  // namespace stasis::snapshot
