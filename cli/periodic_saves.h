// --save-every: a series of snapshots taken while a command waits for its guest.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "core/clock.h"
#include "core/result.h"
#include "session/snapshot_series.h"

namespace stasis::cli {

// Value. `every` of 0: no series.
struct PeriodicOptions {
  std::chrono::nanoseconds every{0};
  std::uint32_t keep = 3;
  std::uint32_t depth_max = 32;
};
// --save-every, --keep, --chain-max.
void add_periodic_options(CommandOptions& app, PeriodicOptions& target);

// How a series is taken, from what the command line says. An empty `tracker` means "auto".
Result<session::SeriesOptions> series_options(const std::string& directory,
                                              const std::string& tracker,
                                              const snapshot::TrackerOptions& tracker_options,
                                              const WriteOptions& write,
                                              const PeriodicOptions& periodic);

// One thread, the session's owner.
class PeriodicSaves {
 public:
  // The first snapshot is due at once. `session` is borrowed.
  static Result<std::unique_ptr<PeriodicSaves>> begin(session::Session& session,
                                                      session::SeriesOptions options,
                                                      std::chrono::nanoseconds every);

  // 0 when one is due.
  [[nodiscard]] std::chrono::nanoseconds until_due() const;
  // Saves if it is due. The next one is due a period after this one was; periods that passed
  // meanwhile are left out and counted.
  Result<void> save_if_due();
  // Saves now: the state in which the command leaves the guest.
  Result<void> save();

  [[nodiscard]] const session::SeriesReport& report() const { return series_->report(); }
  [[nodiscard]] std::uint32_t missed() const noexcept { return missed_; }

 private:
  PeriodicSaves(std::unique_ptr<session::SnapshotSeries> series, std::chrono::nanoseconds every);

  std::unique_ptr<session::SnapshotSeries> series_;
  std::chrono::nanoseconds every_;
  MonotonicNs due_;
  std::uint32_t missed_ = 0;
};

std::string describe(const PeriodicSaves& saves);
nlohmann::ordered_json to_json(const PeriodicSaves& saves);

// As wait_in_slices(), and saves whenever that is due. `saves` may be null.
template <typename Wait, typename Tick>
auto wait_and_save(PeriodicSaves* saves, std::chrono::nanoseconds timeout, Wait wait, Tick tick)
    -> decltype(wait(timeout)) {
  const MonotonicNs begin = host_clock().now();
  while (true) {
    const auto left = timeout - std::chrono::nanoseconds(host_clock().now() - begin);
    const auto slice = saves == nullptr ? left : std::min(left, saves->until_due());
    auto outcome = wait_in_slices(slice, wait, tick);
    if (outcome || outcome.error().code != Errc::kTimeout || interrupted() || slice >= left) {
      return outcome;
    }
    if (Result<void> saved = saves->save_if_due(); !saved) {
      return std::move(saved).error();
    }
  }
}

}  // namespace stasis::cli
