#include "experiments/harness/driver.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "core/clock.h"
#include "experiments/harness/free_memory.h"
#include "experiments/harness/noise.h"
#include "experiments/harness/progress_line.h"
#include "experiments/harness/run_directory.h"
#include "experiments/harness/schedule.h"
#include "experiments/harness/subprocess.h"

namespace stasis::experiments {
namespace {

bool is_cancelled(const DriverOptions& options) {
  return options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed);
}

// A process, its guest and the judging of noise; and for each MiB that a trial uses: to back it, to
// fill it, to read or write it as a file.
constexpr std::int64_t kTrialNs = 150'000'000;
constexpr std::int64_t kMibNs = 1'000'000;

// "32 cells x 30 trials + 3 to warm up, 1056 to be made: about 20 min".
std::string announcement(const Experiment& experiment, const Plan& plan,
                         std::span<const TrialSlot> open, std::size_t done) {
  std::string text = fmt::format("{} cells, {} trials of each after {} to warm up",
                                 plan.cells.size(), plan.trials, plan.warmup_blocks);
  if (done > 0) {
    text += fmt::format("; {} are there already", done);
  }
  return open.empty() ? text + "; none is to be made"
                      : fmt::format("{}; {} to be made, about {}", text, open.size(),
                                    format_duration(estimate_ns(experiment, open)));
}

// The reply of one trial process. An error of the trial is in the reply; everything that went wrong
// around it too, because a row must say so.
TrialReply run_in_process(const TrialRequest& request, const DriverOptions& options) {
  TrialRequest made = with_scratch(request, options.scratch);
  made.parameters["spawned_at"] = std::to_string(host_clock().now());
  const auto process =
      run_process({options.trial_program, to_json_text(made)}, {.cancel = options.cancel});
  if (!process) {
    return {.error = process.error().to_string()};
  }
  auto reply = trial_reply_from_json(process->standard_output);
  if (!reply) {
    return {.error = fmt::format("the trial process ended with exit code {}: {}",
                                 process->exit_code, process->standard_error)};
  }
  reply->metrics["process_ns"] = static_cast<double>(process->ended_at - process->spawned_at);
  reply->metrics["process_cpu_ns"] = static_cast<double>(process->cpu_ns);
  return *std::move(reply);
}

Result<void> prepare(const Experiment& experiment, const DriverOptions& options,
                     ProgressLine& progress) {
  for (const Preparation& preparation : experiment.preparations) {
    if (is_cancelled(options)) {
      return {};
    }
    const std::string product = options.scratch + "/" + preparation.product;
    std::error_code ignored;
    if (std::filesystem::exists(product, ignored)) {
      continue;
    }
    progress.note("preparing " + preparation.what);
    const TrialReply reply = run_in_process(preparation.trial, options);
    if (!reply.error.empty() && !is_cancelled(options)) {
      return Error{.code = Errc::kBackend,
                   .message = fmt::format("prepare {}: {}", preparation.what, reply.error)};
    }
  }
  return {};
}

Result<CacheReport> set_cache(const PlannedCell& planned, const DriverOptions& options) {
  if (!planned.cache) {
    return CacheReport{.asked = "any"};
  }
  std::vector<std::string> files;
  for (const std::string& directory : planned.cached_directories) {
    STASIS_ASSIGN(const std::vector<std::string> found,
                  files_below(options.scratch + "/" + directory));
    files.insert(files.end(), found.begin(), found.end());
  }
  STASIS_ASSIGN(const CacheResidency residency, set_cache_state(files, *planned.cache));
  return CacheReport{.asked = std::string(name_of(*planned.cache)),
                     .verified = true,
                     .data_pages = residency.data_pages,
                     .cached_pages = residency.cached_pages,
                     .method = std::string(residency.method)};
}

Row make_row(const Plan& plan, const PlannedCell& planned, const TrialSlot& slot, bool quotable) {
  Row row;
  row.experiment = plan.experiment;
  row.plan = plan_id(plan);
  row.backend = plan.backend;
  row.seed = plan.seed;
  row.cell = planned.cell.id;
  row.factors = planned.cell.factors;
  row.block = slot.block;
  row.order = slot.order;
  row.warmup = slot.warmup;
  row.quotable = quotable;
  return row;
}

void measure(const PlannedCell& planned, const DriverOptions& options, NoiseMonitor& noise,
             Row& row) {
  auto cache = set_cache(planned, options);
  auto backed_ns = back_free_memory_ns(planned.fresh_bytes);
  if (!cache) {
    row.error = cache.error().to_string();
  } else if (!backed_ns) {
    row.error = backed_ns.error().to_string();
  } else {
    row.cache = *cache;
    TrialReply reply = run_in_process(planned.trial, options);
    row.metrics = std::move(reply.metrics);
    row.metrics["backing_ns"] = static_cast<double>(*backed_ns);
    row.proof = std::move(reply.proof);
    row.error = std::move(reply.error);
  }
  row.noise = noise.judge();
  row.wall_ns = host_clock().wall_ns();
}

}  // namespace

std::int64_t estimate_ns(const Experiment& experiment, std::span<const TrialSlot> open) {
  const auto trial_ns = [](std::uint64_t bytes) {
    return kTrialNs + static_cast<std::int64_t>(bytes >> 20U) * kMibNs;
  };
  std::int64_t ns = 0;
  for (const TrialSlot& slot : open) {
    ns += trial_ns(experiment.cells[slot.cell].fresh_bytes);
  }
  for (const Preparation& preparation : experiment.preparations) {
    // Memory and the file.
    const auto bytes = preparation.trial.number("memory_bytes", std::uint64_t{256} << 20U);
    ns += trial_ns(bytes ? 2 * *bytes : 0);
  }
  return ns;
}

TrialRequest with_scratch(const TrialRequest& request, const std::string& scratch) {
  TrialRequest made = request;
  for (auto& [name, value] : made.parameters) {
    if (value.starts_with(kScratchPrefix)) {
      std::string path = scratch;
      path.append("/").append(value, std::string_view(kScratchPrefix).size());
      value = std::move(path);
    }
  }
  return made;
}

Result<DriverOutcome> drive(const Experiment& experiment, const Plan& plan,
                            const DriverOptions& options) {
  STASIS_ASSIGN(RunDirectory directory, RunDirectory::open(options.directory, plan));
  const HostFacts host = collect_host_facts(options.scratch);
  ProgressLine progress(experiment.name, options.progress);
  const std::vector<TrialSlot> slots =
      make_schedule(experiment.cells.size(), plan.trials, plan.warmup_blocks, plan.seed);
  std::vector<TrialSlot> open;
  for (const TrialSlot& slot : slots) {
    if (!directory.has_row(slot.block, experiment.cells[slot.cell].cell.id)) {
      open.push_back(slot);
    }
  }
  std::size_t done = slots.size() - open.size();
  progress.announce(announcement(experiment, plan, open, done));
  if (!open.empty()) {
    STASIS_TRY(prepare(experiment, options, progress));
  }
  progress.begin(done, slots.size());
  NoiseMonitor noise;
  for (const TrialSlot& slot : open) {
    if (is_cancelled(options)) {
      return DriverOutcome{.interrupted = true};
    }
    const PlannedCell& planned = experiment.cells[slot.cell];
    progress.update(done, planned.cell.id);
    Row row = make_row(plan, planned, slot, options.quotable);
    measure(planned, options, noise, row);
    if (is_cancelled(options)) {  // The process was killed: this is no trial.
      return DriverOutcome{.interrupted = true};
    }
    STASIS_TRY(directory.append(row, host));
    ++done;
  }
  return DriverOutcome{};
}

}  // namespace stasis::experiments
