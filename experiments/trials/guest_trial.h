// What trials with a guest are made of.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"
#include "experiments/harness/trial.h"
#include "session/session.h"

namespace stasis::experiments {

// How long a trial waits for its guest.
inline constexpr std::chrono::nanoseconds kPatience = std::chrono::minutes(2);

inline double number(std::int64_t value) {
  return static_cast<double>(value);
}
inline double number(std::uint64_t value) {
  return static_cast<double>(value);
}

// From the parameters of a request: threads chunk_bytes layout codec sync.
Result<session::SaveOptions> save_options(const TrialRequest& request);
// policy threads verify huge_pages tracker spawned_at.
Result<session::RestoreOptions> restore_options(const TrialRequest& request);
// guest arguments memory_bytes vcpus.
Result<session::LaunchOptions> launch_options(const TrialRequest& request);

// The guest's answer as text. A guest that says "error" makes the trial fail: kGuestFault.
Result<std::string> ask(session::Session& guest, std::span<const std::byte> request);
Result<std::string> ask(session::Session& guest, const std::string& request);
// The part of an answer that depends on memory alone: pagetoucher's hash, without the cycles it
// took; all of the answer of a guest that says no hash.
std::string proof_of(const std::string& answer);
// A number of an answer: 3 of "pages=3 cycles=9" for "pages". kGuestFault if it is not there.
Result<std::uint64_t> number_in(const std::string& answer, const std::string& name);

// <milestone>_ns since the begin of the restore.
void add_milestones(const MilestoneLog& log, TrialReply& reply);
// Faults, exits, CPU time and mappings; pauses the guest.
Result<void> add_counters(session::Session& guest, TrialReply& reply);

}  // namespace stasis::experiments
