// stasis restore: a saved guest back to life, as often as asked, with every milestone.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/periodic_saves.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "cli/requests.h"
#include "cli/save.h"
#include "session/session.h"
#include "snapshot/policies/policy_choice.h"

namespace stasis::cli {

namespace {

// For the first instruction of a guest that was asked nothing: far more than it takes.
constexpr std::chrono::nanoseconds kSettleTime = std::chrono::seconds(1);

struct RestoreCommandOptions {
  RestoreCommandOptions() { restore.policy.clear(); }  // Then default_policy decides.

  std::string snapshot;
  session::RestoreOptions restore;
  std::string_view default_policy = "lazy";
  std::string backend = "auto";
  std::vector<std::string> requests;
  std::uint32_t repeat = 1;
  bool until_exit = false;
  bool accept_changed_files = false;
  bool record_working_set = false;
  bool explain = false;
  std::size_t request_bytes_max = abi::kRequestBytesMax;
  // kResponses: of a single trial, at once.
  enum class Show : std::uint8_t { kAll, kResponses } show = Show::kAll;
  std::string save;
  bool diff = false;
  PeriodicOptions periodic;
  WriteOptions write;
  std::chrono::nanoseconds sample_residency{0};
  std::int64_t spawned_at = 0;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

struct RestoreResult {
  std::vector<Trial> trials;
  std::optional<session::DirtyReport> dirty;
  std::optional<session::SaveReport> saved;
  std::unique_ptr<PeriodicSaves> series;  // Of its report alone: the session may be gone.
  std::optional<session::WorkingSetReport> working_set;
  std::vector<std::string> reasons;          // Of --policy auto, in the last restore.
  std::vector<std::string> tracker_reasons;  // Likewise, of --tracker auto.
  std::optional<std::uint64_t> exit_code;
  bool is_linux_program = false;
  std::optional<int> signal;  // That killed it.
  std::string console;
};

Result<session::SeriesOptions> series_of(const RestoreCommandOptions& options) {
  return series_options(options.save, options.restore.tracker, options.restore.tracker_options,
                        options.write, options.periodic);
}

// When nothing more is asked of the guest.
Result<void> wait_exit(session::Session& session, const RestoreCommandOptions& options,
                       Context& context, RestoreResult& result) {
  Progress progress("waiting for the guest to exit", context.progress_mode());
  auto exit_code = wait_and_save(
      result.series.get(), options.timeout, [&](auto slice) { return session.wait_exit(slice); },
      [&] { progress.tick(); });
  result.is_linux_program = session.runs_linux_program();
  result.signal = session.ending_signal();
  STASIS_ASSIGN(result.exit_code, std::move(exit_code));
  return {};
}

Result<void> after_requests(session::Session& session, const RestoreCommandOptions& options,
                            Context& context, RestoreResult& result) {
  if (options.record_working_set) {
    STASIS_ASSIGN(result.working_set, session.record_working_set());
  }
  if (!options.restore.tracker.empty() && !result.series) {
    STASIS_ASSIGN(result.dirty, session.dirty());
  }
  if (result.series && !options.until_exit) {
    STASIS_TRY(result.series->save());  // The state in which the guest is left.
  } else if (!result.series && !options.save.empty()) {
    const session::SaveKind kind =
        options.diff ? session::SaveKind::kDiff : session::SaveKind::kFull;
    STASIS_ASSIGN(result.saved, save_snapshot(session, options.save, kind, options.write, context));
  }
  return options.until_exit ? wait_exit(session, options, context, result) : Result<void>();
}

// Until the guest runs; interruptible, and with progress when it takes long.
Result<std::unique_ptr<session::Session>> start(HypervisorBackend& backend,
                                                const RestoreCommandOptions& options,
                                                Context& context, RestoreResult& result) {
  Progress progress(fmt::format("restoring '{}'", options.snapshot), context.progress_mode());
  session::RestoreOptions restore = options.restore;
  restore.progress = [&progress](std::uint64_t done, std::uint64_t total) {
    progress.update(done, total);
  };
  restore.cancel = &interrupt_flag();
  result.reasons.clear();
  restore.explain = [&result](const std::string& reason) { result.reasons.push_back(reason); };
  restore.warn = [&context](const std::string& message) {
    context.output.warn(printable(message));
  };
  return session::Session::restore(backend, options.snapshot, restore);
}

Result<void> one_trial(HypervisorBackend& backend, const RestoreCommandOptions& options,
                       const std::vector<Request>& requests, Context& context,
                       RestoreResult& result) {
  STASIS_ASSIGN(std::unique_ptr<session::Session> session,
                start(backend, options, context, result));
  if (options.periodic.every.count() > 0) {
    STASIS_ASSIGN(session::SeriesOptions series, series_of(options));
    STASIS_ASSIGN(result.series,
                  PeriodicSaves::begin(*session, std::move(series), options.periodic.every));
  }
  STASIS_ASSIGN(std::vector<Exchange> exchanges,
                exchange(*session, requests, options.timeout, context, result.series.get()));
  if (options.show == RestoreCommandOptions::Show::kResponses) {
    print_answers(exchanges, context.output);  // Before anything else: somebody waits for it.
  }
  result.tracker_reasons = session->tracker_reasons();
  STASIS_TRY(session->settle(kSettleTime));
  STASIS_TRY(after_requests(*session, options, context, result));
  Trial trial = make_trial(session->milestones(), session->first_instruction_error_ns());
  trial.residency = session->residency();
  trial.exchanges = std::move(exchanges);
  STASIS_ASSIGN(trial.counters, session->counters());
  result.trials.push_back(std::move(trial));
  result.console = session->console();
  if (options.show == RestoreCommandOptions::Show::kResponses) {
    context.leftovers.session = std::move(session);
  }
  return {};
}

void report_text(const RestoreCommandOptions& options, const RestoreResult& result,
                 Output& output) {
  if (options.show == RestoreCommandOptions::Show::kResponses) {
    return;  // They are printed already.
  }
  if (options.explain) {
    for (const std::string& reason : result.reasons) {
      output.text(fmt::format("policy: {}\n", reason));
    }
    for (const std::string& reason : result.tracker_reasons) {
      output.text(fmt::format("tracker: {}\n", reason));
    }
  }
  print_exchanges(result.trials.back().exchanges, output);
  output.text(milestone_table(result.trials));
  if (result.dirty) {
    output.text(fmt::format("dirty since the restore: {}\n",
                            describe(*result.dirty, options.restore.tracker)));
  }
  if (result.working_set) {
    output.text(fmt::format("working set recorded: {} written, {} read, in {} runs\n",
                            format_bytes(result.working_set->written_bytes),
                            format_bytes(result.working_set->read_bytes),
                            result.working_set->runs));
  }
  if (result.saved) {
    output.text(describe(options.save, *result.saved));
  }
  if (result.series) {
    output.text(describe(*result.series));
  }
  // A Linux program that ends well has said all there is to say.
  if (result.exit_code && (!result.is_linux_program || *result.exit_code != 0)) {
    output.text(fmt::format("the guest exited with code {}\n", *result.exit_code));
  }
}

void report_json(const RestoreCommandOptions& options, std::string_view backend,
                 const RestoreResult& result, Output& output) {
  using Json = nlohmann::ordered_json;
  Json& json = output.json();
  json["snapshot"] = options.snapshot;
  json["backend"] = backend;
  json["policy"] = options.restore.policy;
  if (options.explain) {
    json["policy_reasons"] = result.reasons;
    json["tracker_reasons"] = result.tracker_reasons;
  }
  json["threads"] = options.restore.policy_options.threads;
  json["verify"] = options.restore.policy_options.verify == snapshot::Verify::kOn;
  json["trials"] = Json::array();
  for (const Trial& trial : result.trials) {
    json["trials"].push_back(to_json(trial));
  }
  json["summary"] = summary_json(result.trials);
  if (result.dirty) {
    json["dirty"] = to_json(*result.dirty, options.restore.tracker);
  }
  if (result.saved) {
    json["saved"] = to_json(*result.saved);
    json["saved"]["path"] = options.save;
  }
  if (result.series) {
    json["series"] = to_json(*result.series);
  }
  if (result.working_set) {
    json["working_set"] = {{"written_bytes", result.working_set->written_bytes},
                           {"read_bytes", result.working_set->read_bytes},
                           {"runs", result.working_set->runs}};
  }
  json["exit_code"] = result.exit_code ? Json(*result.exit_code) : Json(nullptr);
  if (result.signal) {
    json["signal"] = *result.signal;
  }
  json["console"] = result.console;
}

Error refuse(std::string message) {
  return Error{Errc::kInvalidArgument, 0, std::move(message)};
}

// What is to be saved, and where.
Result<void> check_saving(const RestoreCommandOptions& options) {
  if ((options.diff || options.write.live) && options.save.empty()) {
    return refuse(std::string(options.diff ? "--diff" : "--live") +
                  " says how to save: it needs --save DIR");
  }
  if (options.diff && options.write.live && options.restore.tracker.empty()) {
    return refuse(
        "--live --diff needs --tracker NAME: without one, finding what changed takes as long as "
        "reading SNAPSHOT, and the guest would stand still for it");
  }
  if (!options.write.full_copy.empty()) {
    if (!options.diff) {
      return refuse("--full-copy stands beside a differential snapshot: it needs --diff");
    }
    STASIS_TRY(check_target(options.write.full_copy, options.write));
  }
  if (options.periodic.every.count() > 0) {
    if (options.diff) {
      return refuse("--diff says how to save once: a series with --save-every has its own rule");
    }
    STASIS_ASSIGN(const session::SeriesOptions series, series_of(options));
    return check_series(series);
  }
  return options.save.empty() ? Result<void>() : check_target(options.save, options.write);
}

Result<void> check(const RestoreCommandOptions& options) {
  if (options.repeat > 1 &&
      (!options.save.empty() || options.until_exit || options.record_working_set)) {
    return refuse(
        "--repeat measures restores: it cannot be combined with --save, --until exit or "
        "--record-working-set");
  }
  if (options.explain && options.restore.policy != snapshot::kAutoPolicy &&
      options.restore.tracker != snapshot::kAutoTracker) {
    return refuse(
        "--explain says why a policy or a tracker was chosen: it needs --policy auto or --tracker "
        "auto");
  }
  if (options.record_working_set && options.restore.policy != "lazy") {
    return refuse(
        "--record-working-set needs --policy lazy: under any other, memory is touched by "
        "more than the guest");
  }
  return check_saving(options);
}

// What the session is told beside what was asked for.
void settle_restore(RestoreCommandOptions& options, const HypervisorBackend& backend,
                    Context& context) {
  if (options.restore.tracker == snapshot::kAutoTracker || options.periodic.every.count() > 0) {
    prepare_auto_tracker(backend.capabilities(), options.write, options.restore.tracker_options);
  }
  if (options.repeat == 1) {
    options.restore.console = console_printer(context.output);
  }
  if (options.sample_residency.count() > 0) {
    options.restore.sample_residency = options.sample_residency;
  }
  if (options.spawned_at > 0) {
    options.restore.spawned_at = options.spawned_at;
  }
}

Result<ExitCode> restore(RestoreCommandOptions options, Context& context) {
  if (options.record_working_set) {
    // A huge page would stand for 512 that were not touched.
    options.restore.policy_options.huge_pages = HugePages::kNever;
    options.restore.policy = options.restore.policy.empty() ? "lazy" : options.restore.policy;
  }
  if (options.restore.policy.empty()) {
    options.restore.policy = options.default_policy;
  }
  STASIS_TRY(check(options));
  STASIS_ASSIGN(const std::vector<Request> requests,
                read_requests(options.requests, options.request_bytes_max));
  options.restore.stale_files =
      options.accept_changed_files ? session::StaleFiles::kAccept : session::StaleFiles::kRefuse;
  STASIS_ASSIGN(std::unique_ptr<HypervisorBackend> backend,
                session::make_backend(options.backend, context.backends));
  settle_restore(options, *backend, context);
  RestoreResult result;
  Progress progress("restoring", context.progress_mode());
  for (std::uint32_t i = 0; i < options.repeat && !interrupted(); ++i) {
    Result<void> outcome = one_trial(*backend, options, requests, context, result);
    if (!outcome) {
      report_json(options, backend->name(), result, context.output);
      if (result.signal && outcome.error().code == Errc::kGuestFault && !interrupted()) {
        context.output.fail(json_code(Errc::kGuestFault), outcome.error().message, "");
        return exit_code_of_signal(*result.signal);
      }
      return std::move(outcome).error();
    }
    options.restore.spawned_at.reset();  // Belongs to the first restore of a process.
    progress.tick();
  }
  report_json(options, backend->name(), result, context.output);
  if (!interrupted()) {
    report_text(options, result, context.output);
  }
  context.leftovers.backend = std::move(backend);
  if (result.is_linux_program) {
    return exit_code_of_program(result.exit_code.value_or(0));
  }
  return result.exit_code.value_or(0) == 0 ? ExitCode::kOk : ExitCode::kNegative;
}

void add_save_options(CommandOptions& app, RestoreCommandOptions& options) {
  app.add_option("--save", options.save, "Save the guest here, after the requests")
      .type_name("DIR");
  app.add_flag("--diff", options.diff, "Save only what changed since SNAPSHOT, as its child");
  app.add_option("--full-copy", options.write.full_copy,
                 "With --diff: save a full snapshot of the same pause here, for verify-diff")
      .type_name("DIR");
  add_periodic_options(app, options.periodic);
  add_write_options(app, options.write);
  add_live_options(app, options.write);
  add_tracker_options(app, options.restore.tracker, options.restore.tracker_options,
                      "Track what the guest writes; makes --diff proportional to it");
}

void add_common_options(CommandOptions& app, RestoreCommandOptions& options) {
  app.add_option("SNAPSHOT", options.snapshot, "Directory of a snapshot").required().type_name("");
  app.add_option("--backend", options.backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  app.add_option(
         "--policy", options.restore.policy,
         fmt::format(
             "How memory comes back: as `stasis policy list` says, or a file of one's own [{}]",
             options.default_policy))
      .type_name("NAME");
  app.add_flag("--explain", options.explain,
               "With --policy auto or --tracker auto: say why it is what it is");
  app.add_flag("--record-working-set", options.record_working_set,
               "Remember beside SNAPSHOT which memory the guest touched, for --policy working-set");
  add_count(app, "--threads", options.restore.policy_options.threads, 64,
            "Threads of the eager policy");
  add_choice<snapshot::Verify>(app, "--verify", options.restore.policy_options.verify,
                               {{"on", snapshot::Verify::kOn}, {"off", snapshot::Verify::kOff}},
                               "Check memory against its checksums; the manifest always is");
  add_choice<HugePages>(app, "--huge-pages", options.restore.policy_options.huge_pages,
                        {{"never", HugePages::kNever},
                         {"transparent", HugePages::kTransparent},
                         {"hugetlb", HugePages::kHugetlb}},
                        "Huge pages for guest RAM");
  add_requests(app, options.requests);
  add_count(app, "--repeat", options.repeat, 1000000, "Restore so often, and show the spread");
  add_duration(app, "--timeout", options.timeout, "Longest wait for the guest, each time");
  app.add_flag("--accept-changed-files", options.accept_changed_files,
               "Restore a Linux guest although files that it has open have changed");
  app.add_option("--spawned-at", options.spawned_at,
                 "CLOCK_MONOTONIC_RAW, in ns, when the parent process started this one")
      .hidden();
}

}  // namespace

CommandFunction add_restore(CommandOptions& app) {
  auto options = std::make_shared<RestoreCommandOptions>();
  add_common_options(app, *options);
  add_choice<bool>(app, "--until", options->until_exit, {{"ready", false}, {"exit", true}},
                   "When to stop; requests and --save come before exit");
  add_save_options(app, *options);
  add_duration(app, "--sample-residency", options->sample_residency,
               "Look so often which pages are resident, for the milestone resident_p90; disturbs "
               "the restore; 0: never");
  app.footer(
      "Examples:\n"
      "  $ stasis restore warm\n"
      "  $ stasis restore warm --policy eager --repeat 5\n"
      "  $ stasis restore warm --save changed --diff --force\n"
      "  $ stasis restore warm --tracker dirty-log --save changed --diff --live --force\n");
  return [options](Context& context) { return restore(*options, context); };
}

CommandFunction add_invoke(CommandOptions& app) {
  auto options = std::make_shared<RestoreCommandOptions>();
  options->show = RestoreCommandOptions::Show::kResponses;
  options->default_policy = snapshot::kWorkingSetPolicy;
  options->request_bytes_max = linux_guest::vm::LinuxProcess::kRequestBytesMax;
  add_common_options(app, *options);
  app.footer(
      "Restores SNAPSHOT, sends it the request (an empty one without --request) and prints the\n"
      "answer; with --repeat it prints how long that takes.\n\n"
      "Examples:\n"
      "  $ stasis invoke warm-shell --request hello --record-working-set\n"
      "  $ stasis invoke warm-shell --request hello\n"
      "  $ stasis invoke warm-shell --request hello --repeat 20 --policy lazy --json\n");
  return [options](Context& context) {
    RestoreCommandOptions chosen = *options;
    if (chosen.requests.empty()) {
      chosen.requests.emplace_back();
    }
    if (chosen.repeat > 1) {
      chosen.show = RestoreCommandOptions::Show::kAll;
    }
    return restore(std::move(chosen), context);
  };
}

}  // namespace stasis::cli
