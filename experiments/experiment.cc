#include "experiments/experiment.h"

#include <fmt/format.h>

#include <utility>

#include "experiments/catalog.h"
#include "experiments/harness/cell_filter.h"
#include "experiments/harness/driver.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/run_directory.h"
#include "experiments/harness/scratch.h"
#include "experiments/report/run_report.h"
#include "session/backends.h"
#include "session/build_info.h"

namespace stasis::experiments {
namespace {

constexpr std::uint32_t kFullTrials = 30;
constexpr std::uint32_t kQuickTrials = 5;
constexpr std::uint32_t kFullWarmupBlocks = 3;
constexpr std::uint32_t kQuickWarmupBlocks = 1;

// The name of the backend that "auto" means.
Result<std::string> settle_backend(const std::string& name) {
  if (name != "auto") {
    STASIS_TRY(session::make_backend(name));
    return name;
  }
  for (const session::BackendInfo& info : session::list_backends()) {
    if (info.availability.available && !info.on_request_only) {
      return info.availability.name;
    }
  }
  return Error{.code = Errc::kNotSupported,
               .message =
                   "no backend is usable on this host (`stasis doctor` says why); --backend "
                   "mock always is, but its times say nothing about real machines"};
}

Result<Experiment> design(const Definition& definition, const std::string& backend,
                          const RunOptions& options) {
  Design design;
  design.workload =
      options.scale == Scale::kQuick ? quick_workload(backend) : full_workload(backend);
  STASIS_ASSIGN(const auto made, session::make_backend(backend));
  design.capabilities = made->capabilities();
  STASIS_ASSIGN(design.selection,
                settle_selection(definition, options.selection, design.capabilities));
  STASIS_ASSIGN(Experiment experiment, definition.design(design));
  return only_cells(std::move(experiment), options.selection.cells);
}

Plan make_plan(const Experiment& experiment, const std::string& backend,
               const RunOptions& options) {
  const bool quick = options.scale == Scale::kQuick;
  Plan plan;
  plan.experiment = experiment.name;
  plan.backend = backend;
  plan.scale = quick ? "quick" : "full";
  plan.seed = options.seed;
  plan.trials = options.trials != 0 ? options.trials : quick ? kQuickTrials : kFullTrials;
  plan.warmup_blocks = quick ? kQuickWarmupBlocks : kFullWarmupBlocks;
  plan.identity = {{"commit", std::string(session::commit())},
                   {"build_type", std::string(session::build_type())},
                   {"compiler", std::string(session::compiler())}};
  for (const auto& [name, value] : collect_host_facts(".")) {
    if (name == "kernel" || name == "cpu" || name == "memory") {
      plan.identity.emplace_back(name, value);
    }
  }
  plan.cells.reserve(experiment.cells.size());
  for (const PlannedCell& planned : experiment.cells) {
    plan.cells.push_back(planned.cell);
  }
  return plan;
}

}  // namespace

std::string_view name_of(CheckOutcome::Verdict verdict) {
  switch (verdict) {
    case CheckOutcome::Verdict::kPass:
      return "pass";
    case CheckOutcome::Verdict::kFail:
      return "FAIL";
    case CheckOutcome::Verdict::kNotApplicable:
      return "n/a";
  }
  return "unknown verdict";
}

std::string verdict_text(const CheckOutcome& check) {
  std::string text(name_of(check.verdict));
  if (check.within_noise) {
    text += ", within noise";
  }
  return text;
}

std::vector<ExperimentInfo> list() {
  std::vector<ExperimentInfo> infos;
  infos.reserve(all_experiments().size());
  for (const Definition* definition : all_experiments()) {
    infos.push_back({.name = std::string(definition->name),
                     .question = std::string(definition->question),
                     .takes = std::string(definition->takes)});
  }
  return infos;
}

Result<RunOutcome> run(std::string_view name, const RunOptions& options) {
  STASIS_ASSIGN(const Definition* definition, find_experiment(name));
  STASIS_ASSIGN(const std::string backend, settle_backend(options.backend));
  STASIS_ASSIGN(const Experiment experiment, design(*definition, backend, options));
  const Plan plan = make_plan(experiment, backend, options);

  DriverOptions driver;
  driver.directory = options.directory.empty()
                         ? fmt::format("runs/{}-{}", experiment.name, plan.seed)
                         : options.directory;
  driver.trial_program = options.trial_program;
  if (driver.trial_program.empty()) {
    STASIS_ASSIGN(driver.trial_program, find_trial_program());
  }
  driver.progress = options.progress;
  driver.cancel = options.cancel;
  driver.quotable =
      build_not_quotable_because().empty() && backend != "mock" && options.scale == Scale::kFull;
  // Opened (and its plan compared) before anything large is made.
  STASIS_TRY(RunDirectory::open(driver.directory, plan));
  remove_stale_scratch(driver.directory);
  STASIS_ASSIGN(const Scratch scratch,
                Scratch::make(options.scratch_directory.empty() ? driver.directory
                                                                : options.scratch_directory));
  driver.scratch = scratch.path();
  STASIS_ASSIGN(const DriverOutcome driven, drive(experiment, plan, driver));
  return summarize_run(driver.directory,
                       driven.interrupted ? RunEnd::kInterrupted : RunEnd::kFinished);
}

Result<RunOutcome> report(const std::string& directory) {
  return summarize_run(directory, RunEnd::kFinished);
}

}  // namespace stasis::experiments
