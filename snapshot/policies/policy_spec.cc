#include "snapshot/policies/policy_spec.h"

#include <algorithm>

namespace stasis::snapshot {
namespace {

constexpr std::size_t kNameBytesMax = 32;
constexpr std::size_t kTextBytesMax = 400;

// What does not go together, and why.
struct Conflict {
  bool present = false;
  std::string_view what;
};

std::optional<std::string_view> first_of(std::initializer_list<Conflict> conflicts) {
  for (const Conflict& conflict : conflicts) {
    if (conflict.present) {
      return conflict.what;
    }
  }
  return std::nullopt;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

std::optional<std::string_view> conflict_of(const PolicySpec& spec) {
  const bool filled = spec.memory == Underlay::kFilled;
  const bool missing = spec.memory == Underlay::kMissing;
  if (const auto found = first_of(
          {{spec.read_ahead && spec.memory != Underlay::kMapped,
            "read_ahead is what the host is told of a mapping: it needs memory \"mapped\""},
           {!missing && spec.faults != FaultService{},
            "faults says how missing pages are served: it needs memory \"missing\""},
           {spec.faults.handlers == 0 || spec.faults.handlers > kFaultHandlersMax,
            "faults.handlers must be 1 to 16"},
           {spec.faults.window_pages == 0 || spec.faults.window_pages > kFaultWindowPagesMax,
            "faults.window_pages must be 1 to 512"},
           {spec.prefetch && filled,
            "prefetch has nothing to bring in where memory is \"filled\" before the guest "
            "runs"}})) {
    return found;
  }
  if (!spec.prefetch) {
    return std::nullopt;
  }
  const PrefetchSpec& prefetch = *spec.prefetch;
  const bool installs = prefetch.by == PrefetchBy::kCopy || prefetch.by == PrefetchBy::kMove;
  const bool populates = prefetch.by == PrefetchBy::kPopulate;
  return first_of(
      {{installs && !missing,
        "prefetch by \"copy\" or \"move\" puts pages where none are: it needs memory \"missing\""},
       {populates && missing,
        "prefetch by \"populate\" asks the host for pages, and where memory is \"missing\" it has "
        "none: use \"copy\" or \"move\""},
       {populates != (prefetch.when == PrefetchWhen::kWithRequest),
        "prefetch by \"populate\" is done \"with-request\", and nothing else is"},
       {!installs && prefetch.read != PayloadAccess::kBuffered,
        "prefetch.read \"direct\" goes around the page cache, which \"populate\" and "
        "\"page-cache\" are about"},
       {prefetch.by != PrefetchBy::kCopy && prefetch.threads != 1,
        "prefetch.threads above 1 needs prefetch by \"copy\""},
       {prefetch.threads == 0 || prefetch.threads > kFaultHandlersMax,
        "prefetch.threads must be 1 to 16"}});
}

}  // namespace

std::string_view name_of(Underlay memory) {
  switch (memory) {
    case Underlay::kFilled:
      return "filled";
    case Underlay::kMapped:
      return "mapped";
    case Underlay::kMissing:
      return "missing";
  }
  return "unknown memory";
}

std::string_view name_of(PrefetchBy by) {
  switch (by) {
    case PrefetchBy::kPopulate:
      return "populate";
    case PrefetchBy::kPageCache:
      return "page-cache";
    case PrefetchBy::kCopy:
      return "copy";
    case PrefetchBy::kMove:
      return "move";
  }
  return "unknown way";
}

std::string_view name_of(PrefetchOrder order) {
  switch (order) {
    case PrefetchOrder::kAddress:
      return "address";
    case PrefetchOrder::kWritten:
      return "written";
    case PrefetchOrder::kAccess:
      return "access";
  }
  return "unknown order";
}

std::string_view name_of(PrefetchWhen when) {
  switch (when) {
    case PrefetchWhen::kBeforeRun:
      return "before-run";
    case PrefetchWhen::kConcurrent:
      return "concurrent";
    case PrefetchWhen::kWithRequest:
      return "with-request";
  }
  return "unknown time";
}

Result<void> check_spec(const PolicySpec& spec) {
  if (!is_name(spec.name)) {
    return Error{Errc::kInvalidArgument, 0,
                 "name '" + spec.name.substr(0, kNameBytesMax) +
                     "' of a restore policy: 1 to 32 of a-z, 0-9 and '-' are possible"};
  }
  const auto conflict = spec.summary.size() > kTextBytesMax || spec.after.size() > kTextBytesMax
                            ? std::optional<std::string_view>(
                                  "summary and after have at most 400 "
                                  "bytes")
                            : conflict_of(spec);
  if (conflict) {
    return Error{Errc::kInvalidArgument, 0,
                 "restore policy '" + spec.name + "': " + std::string(*conflict)};
  }
  return {};
}

std::string describe(const PolicySpec& spec) {
  std::string text;
  switch (spec.memory) {
    case Underlay::kFilled:
      text = "memory is read and checked before the guest runs\n";
      break;
    case Underlay::kMapped:
      text =
          "memory is a private mapping of the payload, and the kernel serves its faults; mapped "
          "pages are not checked\n";
      if (spec.read_ahead) {
        text += "the host reads ahead of a fault: " + std::string(name_of(*spec.read_ahead)) + "\n";
      }
      break;
    case Underlay::kMissing:
      text = "a page is read, checked and installed when it is touched, by " +
             std::to_string(spec.faults.handlers) + " thread" +
             (spec.faults.handlers == 1 ? "" : "s") + ", with at most " +
             std::to_string(spec.faults.window_pages) + " at a time\n";
      text += spec.faults.zero_pages == ZeroPages::kKernel
                  ? "pages of zeros come from the kernel, without the handler\n"
                  : "pages of zeros come from the handler, too\n";
      break;
  }
  if (spec.prefetch) {
    const PrefetchSpec& prefetch = *spec.prefetch;
    text += "recorded pages are brought in " + std::string(name_of(prefetch.when)) + ", by " +
            std::string(name_of(prefetch.by)) +
            ", in the order: " + std::string(name_of(prefetch.order));
    text += prefetch.read == PayloadAccess::kDirect ? ", around the page cache" : "";
    text += prefetch.threads > 1 ? ", by " + std::to_string(prefetch.threads) + " threads" : "";
    text += "\n";
  }
  return text;
}

}  // namespace stasis::snapshot
