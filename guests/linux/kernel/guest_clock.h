// The clocks of a Linux guest. Real time is the host's. Monotonic time begins when the process does
// and stands still between a save and a load: it never jumps, neither back nor forward. Processor
// time is monotonic time without what the process has waited.
//
// Where the guest can read a counter, all of them follow that (follow()) instead of the host's
// clocks, so that the guest can compute what a system call would say. Real time is corrected to the
// host's now and then; monotonic time runs at the rate of the counter.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/clock.h"
#include "guests/linux/kernel.h"

namespace stasis::linux_guest {

enum class ClockKind : std::uint8_t {
  kMonotonic,
  kReal,
  kProcessor,  // Of timers that send a signal; no call waits for it.
};

// A point of time on one of the guest's clocks. Value.
struct Deadline {
  ClockKind clock = ClockKind::kMonotonic;
  std::int64_t at_ns = 0;
  friend bool operator==(const Deadline&, const Deadline&) = default;
};

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kCorrectionNs = kNsPerSecond;
// Real time that runs ahead of the host's by less is left as it is, rather than set back.
constexpr std::int64_t kAheadNsMax = 1'000'000;

// Thread-compatible. Keeps a pointer to the clock of the host.
class GuestClock {
 public:
  explicit GuestClock(const Clock& host) : host_(&host), started_(host.now()) {}

  [[nodiscard]] std::int64_t monotonic_ns() const;
  [[nodiscard]] std::int64_t real_ns() const;
  [[nodiscard]] std::int64_t now_ns(ClockKind clock) const {
    return clock == ClockKind::kReal        ? real_ns()
           : clock == ClockKind::kProcessor ? monotonic_ns() - waited_ns()
                                            : monotonic_ns();
  }
  [[nodiscard]] MonotonicNs host_now() const { return host_->now(); }
  [[nodiscard]] bool is_past(const Deadline& deadline) const {
    return now_ns(deadline.clock) >= deadline.at_ns;
  }
  // From now on; saturates at the end of time.
  [[nodiscard]] Deadline after(std::int64_t duration_ns,
                               ClockKind clock = ClockKind::kMonotonic) const;
  // The same point on the clock of the host; of processor time, as if the process did not wait.
  [[nodiscard]] MonotonicNs on_host(const Deadline& deadline) const;

  // The process begins to wait, or has waited: nothing of it runs.
  void begin_wait();
  void end_wait();
  [[nodiscard]] std::int64_t waited_ns() const;

  CounterTime follow(std::function<std::uint64_t()> counter, std::uint32_t khz);
  // At most once in kCorrectionNs; nothing when all is as it was.
  [[nodiscard]] std::optional<CounterTime> correct();

  // After a load. At most `monotonic_ns` of it was waited.
  void resume_at(std::int64_t monotonic_ns, std::int64_t waited_ns);

 private:
  [[nodiscard]] std::int64_t since_ns(std::uint64_t counter) const;

  const Clock* host_;
  MonotonicNs started_;
  std::int64_t offset_ns_ = 0;  // Monotonic time at started_.
  std::int64_t waited_ns_ = 0;  // Until wait_began_ns_, if that is set.
  std::optional<std::int64_t> wait_began_ns_;
  // Only while the clocks follow a counter.
  std::function<std::uint64_t()> counter_;
  CounterTime follows_;
  MonotonicNs corrected_ = 0;  // When, on the host's clock.
};

// Saturating.
[[nodiscard]] std::int64_t add_ns(std::int64_t a, std::int64_t b);

}  // namespace stasis::linux_guest
