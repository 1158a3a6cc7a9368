// Several restores at the same time, each in a process of its own.
#include <algorithm>
#include <array>
#include <cmath>
#include <thread>

#include "core/clock.h"
#include "experiments/experiment.h"
#include "experiments/harness/subprocess.h"
#include "experiments/restore_scaling/restore_scaling.h"
#include "experiments/stats/descriptive.h"
#include "experiments/trials/guest_trial.h"

namespace stasis::experiments::restore_scaling {
namespace {

constexpr std::uint64_t kAtOnceMax = 64;

// What one of the processes said.
struct Outcome {
  Result<ProcessResult> process = Error{.code = Errc::kBackend, .message = "was not started"};
};

Result<TrialReply> restore_many(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t at_once, request.number("at_once", 1));
  if (at_once == 0 || at_once > kAtOnceMax) {
    return Error{.code = Errc::kInvalidArgument, .message = "at_once is not from 1 to 64"};
  }
  STASIS_ASSIGN(const std::string program, find_trial_program());
  TrialRequest one = request;
  one.kind = "restore";
  one.parameters.erase("at_once");
  const MonotonicNs begin = host_clock().now();
  one.parameters["spawned_at"] = std::to_string(begin);
  const std::string text = to_json_text(one);
  std::vector<Outcome> outcomes(static_cast<std::size_t>(at_once));
  std::vector<std::thread> threads;
  threads.reserve(outcomes.size());
  for (Outcome& outcome : outcomes) {
    threads.emplace_back([&outcome, &program, &text] {
      outcome.process = run_process({program, text});
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  TrialReply reply;
  std::vector<double> responses;
  double cpu_ns = 0;
  MonotonicNs end = begin;
  for (const Outcome& outcome : outcomes) {
    STASIS_TRY(outcome.process);
    STASIS_ASSIGN(const TrialReply said, trial_reply_from_json(outcome.process->standard_output));
    if (!said.error.empty()) {
      return Error{.code = Errc::kBackend, .message = said.error};
    }
    if (!reply.proof.empty() && reply.proof != said.proof) {
      return Error{
          .code = Errc::kCorruption,
          .message = "restores at once answered '" + reply.proof + "' and '" + said.proof + "'"};
    }
    reply.proof = said.proof;
    const auto response = said.metrics.find("first_response_ns");
    const auto spawn = said.metrics.find("spawn_to_begin_ns");
    if (response == said.metrics.end() || spawn == said.metrics.end()) {
      return Error{.code = Errc::kBackend, .message = "a restore did not say when it answered"};
    }
    responses.push_back(response->second + spawn->second);
    cpu_ns += number(outcome.process->cpu_ns);
    end = std::max(end, outcome.process->ended_at);
  }
  const double slowest = *std::max_element(responses.begin(), responses.end());
  reply.metrics = {{"slowest_ns", slowest},
                   {"median_ns", median(responses)},
                   {"wall_ns", number(end - begin)},
                   {"cpu_ns", cpu_ns},
                   {"cpu_each_ns", cpu_ns / number(at_once)},
                   {"per_second", number(at_once) / (slowest * 1e-9)}};
  return reply;
}

}  // namespace

std::span<const TrialKind> trials() {
  static constexpr std::array<TrialKind, 1> kKinds = {{{"restore_many", restore_many}}};
  return kKinds;
}

}  // namespace stasis::experiments::restore_scaling
