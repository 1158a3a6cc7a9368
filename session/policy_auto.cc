#include "session/policy_auto.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "snapshot/access_trace.h"
#include "snapshot/policies/policy_choice.h"
#include "snapshot/policies/policy_file.h"
#include "snapshot/restore/requirements.h"
#include "snapshot/restore/restorer.h"
#include "snapshot/working_set.h"

namespace stasis::session::internal {

namespace {

// The trace, or nothing and a warning.
std::optional<std::vector<PopulatePiece>> trace_of(const snapshot::SnapshotReader& snapshot,
                                                   const RestoreOptions& options) {
  auto trace = snapshot::read_trace(snapshot::posix_file_system(), snapshot);
  if (trace) {
    return *trace ? std::optional(snapshot::pieces_of(**trace)) : std::nullopt;
  }
  if (options.warn) {
    options.warn(trace.error().message +
                 "; the access trace is not used, record another one with `stasis trace record`");
  }
  return std::nullopt;
}

// The working set, or nothing and a warning.
std::optional<std::vector<PopulatePiece>> working_set_of(const snapshot::SnapshotReader& snapshot,
                                                         const RestoreOptions& options) {
  auto set = snapshot::read_working_set(snapshot::posix_file_system(), snapshot);
  if (set) {
    return *set ? std::optional(std::move((*set)->pieces)) : std::nullopt;
  }
  if (options.warn) {
    options.warn(set.error().message +
                 "; the working set is not used, record another one with --record-working-set");
  }
  return std::nullopt;
}

// One mapping of a payload, of which the host is asked what it has in its page cache.
class PayloadMap {
 public:
  PayloadMap(int fd, std::uint64_t bytes)
      : base_(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0)), bytes_(bytes) {}
  ~PayloadMap() {
    if (base_ != MAP_FAILED) {
      ::munmap(base_, bytes_);
    }
  }
  PayloadMap(const PayloadMap&) = delete;
  PayloadMap& operator=(const PayloadMap&) = delete;
  PayloadMap(PayloadMap&&) = delete;
  PayloadMap& operator=(PayloadMap&&) = delete;

  // Whether the page at `offset` is cached; nothing where the host does not say.
  [[nodiscard]] std::optional<bool> has(std::uint64_t offset) const {
    static const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    unsigned char present = 0;
    if (base_ == MAP_FAILED || offset >= bytes_ ||
        ::mincore(static_cast<std::byte*>(base_) + (offset - offset % page_bytes), page_bytes,
                  &present) != 0) {
      return std::nullopt;
    }
    return (present & 1U) != 0;
  }

 private:
  void* base_;
  std::uint64_t bytes_;
};

// Of recorded pages of the snapshot's own payload, spread over the record: enough for a guess, few
// enough to cost nothing.
std::optional<double> cached_share(const snapshot::SnapshotChain& chain,
                                   const snapshot::PlanInput& input) {
  constexpr std::size_t kSamples = 64;
  const auto& record = input.touched ? input.touched : input.trace;
  const snapshot::ReadableFile& payload = chain.leaf().payload();
  if (!record || record->empty() || payload.fd() < 0 || payload.size_bytes() == 0) {
    return std::nullopt;
  }
  const PayloadMap map(payload.fd(), payload.size_bytes());
  const std::size_t stride = std::max<std::size_t>(record->size() / kSamples, 1);
  std::uint64_t asked = 0;
  std::uint64_t cached = 0;
  for (std::size_t i = 0; i < record->size(); i += stride) {
    const Gpa gpa = (*record)[i].range.begin;
    const auto at = std::upper_bound(
        input.extents.begin(), input.extents.end(), gpa,
        [](Gpa wanted, const auto& source) { return wanted < source.range.end(); });
    if (at == input.extents.end() || !at->range.contains(gpa) || at->depth != 0 ||
        at->extent.kind != snapshot::ExtentKind::kRaw) {
      continue;
    }
    const auto present =
        map.has(at->extent.file_offset + (gpa.value - at->extent.range.begin.value));
    asked += present ? 1U : 0U;
    cached += present.value_or(false) ? 1U : 0U;
  }
  return asked == 0 ? std::nullopt
                    : std::optional(static_cast<double>(cached) / static_cast<double>(asked));
}

}  // namespace

snapshot::PlanInput plan_input(const snapshot::SnapshotChain& chain,
                               const snapshot::PolicySpec& policy, const RestoreOptions& options) {
  snapshot::PlanInput input = snapshot::plan_input(chain);
  if (!policy.prefetch) {
    return input;
  }
  if (policy.prefetch->order == snapshot::PrefetchOrder::kAccess) {
    input.trace = trace_of(chain.leaf(), options);
  }
  if (!input.trace) {
    input.touched = working_set_of(chain.leaf(), options);
  }
  if (!input.touched && policy.prefetch->order != snapshot::PrefetchOrder::kAccess) {
    input.trace = trace_of(chain.leaf(), options);
  }
  return input;
}

Result<snapshot::PolicySpec> policy_for(const snapshot::SnapshotChain& chain,
                                        const Capabilities& capabilities,
                                        const RestoreOptions& options) {
  if (options.policy != snapshot::kAutoPolicy) {
    return snapshot::load_policy(options.policy);
  }
  snapshot::PlanInput input = snapshot::plan_input(chain);
  input.touched = working_set_of(chain.leaf(), options);
  input.trace = input.touched ? std::nullopt : trace_of(chain.leaf(), options);
  snapshot::ChoiceFacts facts = snapshot::facts_of(input);
  facts.tracked = !options.tracker.empty();
  if (facts.compressed_bytes != 0) {
    facts.missing_pages = snapshot::probe_missing_pages(capabilities).available;
  }
  facts.cached = cached_share(chain, input);
  const snapshot::PolicyChoice choice = snapshot::choose_policy(facts);
  if (options.explain) {
    for (const std::string& reason : choice.reasons) {
      options.explain(reason);
    }
    options.explain("therefore the policy is " + std::string(choice.policy));
  }
  return snapshot::find_policy(choice.policy);
}

}  // namespace stasis::session::internal
