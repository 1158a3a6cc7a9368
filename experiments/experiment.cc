#include "experiments/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "experiments/experiment_paths.h"  // Generated: where the build put stasis-trial.
#include "experiments/harness/driver.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/run_directory.h"
#include "experiments/harness/text_file.h"
#include "experiments/report/report.h"
#include "experiments/restore_latency/cells.h"
#include "experiments/restore_latency/checks.h"
#include "session/backends.h"
#include "session/build_info.h"

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kFullTrials = 30;
constexpr std::uint32_t kQuickTrials = 5;
constexpr std::uint32_t kFullWarmupBlocks = 3;
constexpr std::uint32_t kQuickWarmupBlocks = 1;
// Above this share of tainted trials a run must not be quoted: its medians may be the noise's.
constexpr double kTaintedShareMax = 0.1;

using MakeExperiment = Experiment (*)(const Workload&);

struct Entry {
  const char* name;
  const char* question;
  const char* takes;
  MakeExperiment make;
};

constexpr std::array<Entry, 2> kExperiments = {
    Entry{"floor", "What do the parts of a restore cost at the least on this host?",
          "about 5 min; --quick 20 s", floor_experiment},
    Entry{"restore_latency",
          "How long from asking for a restore to the guest's first instruction and first response, "
          "and what does a save cost, in multiples of the physical floor?",
          "about 40 min, 6 GiB of disk; --quick 2 min, 600 MiB", restore_latency_experiment}};

Result<const Entry*> find(std::string_view name) {
  std::string names;
  for (const Entry& entry : kExperiments) {
    if (name == entry.name) {
      return &entry;
    }
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return Error{.code = Errc::kNotFound,
               .message = fmt::format("no experiment '{}'; there are: {}", name, names)};
}

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
  for (const PlannedCell& planned : experiment.cells) {
    plan.cells.push_back(planned.cell);
  }
  return plan;
}

constexpr const char* kScratchName = "stasis-scratch-";

// What runs that were killed left in their own directory: gigabytes.
void remove_stale_scratch(const std::string& run_directory) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_directory, ignored)) {
    if (entry.path().filename().string().starts_with(kScratchName)) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

// Removes the scratch directory at the end, however the run ends.
class Scratch {
 public:
  static Result<Scratch> make(const std::string& parent) {
    std::error_code failed;
    fs::create_directories(parent, failed);
    std::string pattern = parent + "/" + kScratchName + "XXXXXX";
    if (failed || ::mkdtemp(pattern.data()) == nullptr) {
      return errno_error(failed ? failed.value() : errno, "make a directory in " + parent);
    }
    return Scratch(pattern);
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) {
      fs::remove_all(path_, ignored);
    }
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

std::string not_quotable_because(const Plan& plan, const RowTable& table, bool interrupted,
                                 bool complete) {
  if (std::string reason = build_not_quotable_because(); !reason.empty()) {
    return reason;
  }
  if (plan.backend == "mock") {
    return "the mock backend says nothing about real machines";
  }
  if (plan.scale == "quick") {
    return "a quick run has small guests and few trials";
  }
  if (interrupted || !complete) {
    return "the run is not complete; the same command continues it";
  }
  if (table.failed() > 0) {
    return fmt::format("{} trials failed", table.failed());
  }
  if (plan.trials < kFullTrials) {
    return fmt::format("{} trials a cell; {} are the least", plan.trials, kFullTrials);
  }
  const auto rows = static_cast<double>(table.rows().size());
  if (static_cast<double>(table.tainted()) > kTaintedShareMax * rows) {
    return fmt::format("{} of {} trials met a busy host", table.tainted(), table.rows().size());
  }
  return {};
}

bool is_complete(const Plan& plan, const std::vector<CellSummary>& cells) {
  return std::all_of(cells.begin(), cells.end(),
                     [&](const CellSummary& cell) { return cell.trials >= plan.trials; });
}

// "steal 5.0 % > 2.0 %" -> "steal": the kind of a reason, for counting.
std::string kind_of(const std::string& reason) {
  return reason.substr(0, std::min(reason.size(), reason.find_first_of("0123456789")));
}

void add_trouble(const RowTable& table, std::span<const Row> rows, ReportData& data) {
  std::map<std::string, std::size_t> taints;
  for (const Row& row : table.rows()) {
    for (const std::string& reason : row.noise.reasons) {
      ++taints[kind_of(reason)];
    }
  }
  for (const auto& [reason, count] : taints) {
    data.taints.emplace_back(reason, count);
  }
  std::map<std::string, std::string> errors;  // The first of each cell.
  for (const Row& row : rows) {
    if (!row.error.empty() && table.failed(row.cell) > 0) {
      errors.emplace(row.cell, row.error);
    }
  }
  for (const auto& [cell, error] : errors) {
    data.errors.push_back(cell + ": " + error);
  }
}

Result<RunOutcome> summarize_run(const std::string& directory, bool interrupted) {
  RunOutcome outcome;
  outcome.directory = directory;
  outcome.rows_path = directory + "/rows.jsonl";
  outcome.html_path = directory + "/report.html";
  outcome.text_path = directory + "/report.txt";
  outcome.interrupted = interrupted;
  STASIS_ASSIGN(const std::string plan_text, read_text_file(directory + "/plan.json"));
  STASIS_ASSIGN(const Plan plan, plan_from_json(plan_text, directory + "/plan.json"));
  STASIS_ASSIGN(const std::vector<Row> rows, read_rows(outcome.rows_path));
  STASIS_ASSIGN(HostFacts host, read_host_facts(outcome.rows_path));

  const RowTable table(plan, rows);
  ReportData data;
  data.plan = plan;
  data.host = std::move(host);
  data.cells = summarize(plan, table);
  data.checks = evaluate_checks(plan, table);
  data.rows = table.rows().size();
  data.tainted = table.tainted();
  data.failed = table.failed();
  add_trouble(table, rows, data);
  data.not_quotable_because =
      not_quotable_because(plan, table, interrupted, is_complete(plan, data.cells));
  outcome.summary = render_text(data);
  outcome.checks = data.checks;
  outcome.rows = data.rows;
  outcome.tainted_rows = data.tainted;
  outcome.failed_rows = data.failed;
  outcome.not_quotable_because = data.not_quotable_because;
  outcome.quotable = data.not_quotable_because.empty();
  STASIS_TRY(write_text_file(outcome.text_path, outcome.summary));
  STASIS_TRY(write_text_file(outcome.html_path, render_html(data)));
  return outcome;
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

std::vector<ExperimentInfo> list() {
  std::vector<ExperimentInfo> infos;
  for (const Entry& entry : kExperiments) {
    infos.push_back({.name = entry.name, .question = entry.question, .takes = entry.takes});
  }
  return infos;
}

Result<RunOutcome> run(std::string_view name, const RunOptions& options) {
  STASIS_ASSIGN(const Entry* entry, find(name));
  STASIS_ASSIGN(const std::string backend, settle_backend(options.backend));
  const Workload workload =
      options.scale == Scale::kQuick ? quick_workload(backend) : full_workload(backend);
  const Experiment experiment = entry->make(workload);
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
  return summarize_run(driver.directory, driven.interrupted);
}

Result<RunOutcome> report(const std::string& directory) {
  return summarize_run(directory, false);
}

Result<std::string> find_trial_program() {
  constexpr const char* kName = "stasis-trial";
  std::vector<fs::path> candidates;
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !ignored) {
    candidates.push_back(program.parent_path() / kName);
    candidates.push_back(program.parent_path().parent_path() / kLibexecSubdirectory / kName);
  }
  candidates.push_back(fs::path(kBuildDirectory) / kName);
  std::string searched;
  for (const fs::path& candidate : candidates) {
    if (fs::is_regular_file(candidate, ignored)) {
      return candidate.string();
    }
    searched += (searched.empty() ? "" : ", ") + candidate.string();
  }
  return Error{.code = Errc::kNotFound,
               .message = fmt::format("{} is in none of: {}; build the target {} or install it",
                                      kName, searched, kName)};
}

}  // namespace stasis::experiments
