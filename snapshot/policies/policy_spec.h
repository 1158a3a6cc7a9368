// PolicySpec: a restore policy as a composition of mechanisms, and nothing else. The named policies
// are files in snapshot/policies/named/; a user's own is a file of the same form.
//
// A composition answers two questions. What lies under a page that nobody has brought in before it
// is touched (`memory`)? And what is brought in before, by what, in which order and when
// (`prefetch`)? Whatever the second one forgets is served by the first, so a wrong or missing
// record costs time and never changes what the guest sees.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "snapshot/restore/plan.h"

namespace stasis::snapshot {

// What lies under a page that nothing has brought in.
enum class Underlay : std::uint8_t {
  kFilled,   // Its bytes: all memory is read and checked before the guest runs.
  kMapped,   // A private mapping of the payload, served by the kernel; not checked.
  kMissing,  // Nothing: a handler reads, checks and installs it at the first touch.
};

// How a recorded page is brought in.
enum class PrefetchBy : std::uint8_t {
  kPopulate,   // By the host, as what the recorded run did with it: its own copy, or the file's.
  kPageCache,  // Its payload into the host's page cache; the guest's touch still faults.
  kCopy,       // Read, checked, and copied to its place (UFFDIO_COPY).
  kMove,       // Read and checked in a buffer whose pages then move to their place (UFFDIO_MOVE).
};

enum class PrefetchOrder : std::uint8_t {
  kAddress,
  kWritten,  // Pages that the recorded run wrote first, each kind by address.
  kAccess,   // As the recorded run touched them first. Needs a trace; else by address.
};

enum class PrefetchWhen : std::uint8_t {
  kBeforeRun,    // The guest waits for all of it.
  kConcurrent,   // On a thread of its own, from when memory exists.
  kWithRequest,  // By whoever has posted the first request and waits for the answer.
};

// Value.
struct PrefetchSpec {
  PrefetchBy by = PrefetchBy::kPopulate;
  PrefetchOrder order = PrefetchOrder::kAddress;
  PrefetchWhen when = PrefetchWhen::kBeforeRun;
  PayloadAccess read = PayloadAccess::kBuffered;
  std::uint32_t threads = 1;  // Of kCopy: each reads and installs runs of its own.
  friend bool operator==(const PrefetchSpec&, const PrefetchSpec&) = default;
};

// Value.
struct PolicySpec {
  std::string name;          // 1 to 32 of a-z, 0-9 and '-'.
  std::string summary = {};  // One line for people.
  std::string after = {};    // Whose idea it is, or empty.
  Underlay memory = Underlay::kMapped;
  // kMapped: what the host is told of every mapping. Nothing: PolicyOptions::read_ahead.
  std::optional<ReadAhead> read_ahead = {};
  FaultService faults = {};  // kMissing.
  std::optional<PrefetchSpec> prefetch = {};
  friend bool operator==(const PolicySpec&, const PolicySpec&) = default;
};

std::string_view name_of(Underlay memory);
std::string_view name_of(PrefetchBy by);
std::string_view name_of(PrefetchOrder order);
std::string_view name_of(PrefetchWhen when);

// kInvalidArgument naming the policy, the fields that do not go together, and why.
Result<void> check_spec(const PolicySpec& spec);

// One line a decision, in the order in which a restore comes to them. For people.
std::string describe(const PolicySpec& spec);

}  // namespace stasis::snapshot
