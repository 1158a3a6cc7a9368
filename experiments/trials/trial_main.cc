// stasis-trial: makes one trial of an experiment in a process of its own, so that nothing of an
// earlier trial (heap, page tables, page-cache references) is left in it.
#include <cstdio>

#include "experiments/harness/trial.h"
#include "experiments/trials/trial_kinds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: stasis-trial REQUEST\nCalled by `stasis experiment run`.\n", stderr);
    return 2;
  }
  const auto request = stasis::experiments::trial_request_from_json(argv[1]);
  if (!request) {
    std::fprintf(stderr, "stasis-trial: error: %s\n", request.error().to_string().c_str());
    return 2;
  }
  const stasis::experiments::TrialReply reply = stasis::experiments::run_trial(*request);
  const bool printed = std::puts(to_json_text(reply).c_str()) >= 0 && std::fflush(stdout) == 0;
  return printed && reply.error.empty() ? 0 : 1;
}
