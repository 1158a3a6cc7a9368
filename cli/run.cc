// stasis run: from a guest program to a warm, saved guest.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/linux_options.h"
#include "cli/options.h"
#include "cli/periodic_saves.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "cli/requests.h"
#include "cli/save.h"
#include "session/session.h"

namespace stasis::cli {

namespace {

// The name of the guest that is an arm64 Linux kernel.
constexpr std::string_view kKernelGuest = "linux";
constexpr std::uint64_t kKernelMemoryBytes = std::uint64_t{512} << 20U;

enum class Until : std::uint8_t { kReady, kExit };

struct RunOptions {
  session::LaunchOptions launch;
  session::LinuxOptions linux_program;
  session::KernelOptions kernel;
  bool trace = false;  // List the system calls.
  bool explain = false;
  std::string backend = "auto";
  std::optional<std::uint64_t> memory_bytes = {};  // Nothing: the kind of guest decides.
  std::optional<Until> until;
  std::vector<std::string> requests;
  std::string save;
  PeriodicOptions periodic;
  WriteOptions write;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

// What happened, for the report.
struct RunResult {
  std::optional<std::int64_t> ready_ns;
  std::vector<Exchange> exchanges;
  std::optional<session::DirtyReport> dirty;
  std::vector<std::string> tracker_reasons;  // Of --tracker auto.
  std::optional<session::SaveReport> saved;
  std::unique_ptr<PeriodicSaves> series;  // Of its report alone: the session may be gone.
  std::optional<std::uint64_t> exit_code;
};

Result<void> wait_ready(session::Session& session, const RunOptions& options, Context& context) {
  Progress progress("waiting for the guest to be ready", context.progress_mode());
  auto outcome = wait_in_slices(
      options.timeout, [&](auto slice) { return session.wait_ready(slice); },
      [&] { progress.tick(); });
  if (!outcome && outcome.error().code == Errc::kTimeout) {
    return Error{Errc::kTimeout, 0,
                 fmt::format("guest '{}' was not ready after {}", options.launch.guest,
                             format_duration(options.timeout.count()))};
  }
  return outcome;
}

Result<std::uint64_t> wait_exit(session::Session& session, const RunOptions& options,
                                PeriodicSaves* saves, Context& context) {
  Progress progress("waiting for the guest to exit", context.progress_mode());
  auto outcome = wait_and_save(
      saves, options.timeout, [&](auto slice) { return session.wait_exit(slice); },
      [&] { progress.tick(); });
  if (!outcome && outcome.error().code == Errc::kTimeout) {
    return Error{Errc::kTimeout, 0,
                 fmt::format("guest '{}' has not exited after {}", options.launch.guest,
                             format_duration(options.timeout.count()))};
  }
  return outcome;
}

Result<session::SeriesOptions> series_of(const RunOptions& options) {
  return series_options(options.save, options.launch.tracker, options.launch.tracker_options,
                        options.write, options.periodic);
}

// From ready on, with a snapshot every period. The last one is of the state in which the guest is
// left, unless it exits.
Result<void> drive_and_save(session::Session& session, const RunOptions& options,
                            const std::vector<Request>& requests, Context& context,
                            RunResult& result) {
  STASIS_ASSIGN(session::SeriesOptions series, series_of(options));
  STASIS_ASSIGN(result.series,
                PeriodicSaves::begin(session, std::move(series), options.periodic.every));
  STASIS_ASSIGN(result.exchanges,
                exchange(session, requests, options.timeout, context, result.series.get()));
  if (*options.until == Until::kExit) {
    STASIS_ASSIGN(result.exit_code, wait_exit(session, options, result.series.get(), context));
    return {};
  }
  return result.series->save();
}

Result<void> drive(session::Session& session, const RunOptions& options,
                   const std::vector<Request>& requests, Context& context, RunResult& result) {
  const bool needs_ready = *options.until == Until::kReady || !requests.empty() ||
                           !options.save.empty() || !options.launch.tracker.empty();
  if (needs_ready) {
    STASIS_TRY(wait_ready(session, options, context));
    result.ready_ns = host_clock().now() - context.begin_at;
  }
  if (options.periodic.every.count() > 0) {
    return drive_and_save(session, options, requests, context, result);
  }
  if (!options.launch.tracker.empty()) {
    STASIS_TRY(session.track(options.launch.tracker, options.launch.tracker_options));
    result.tracker_reasons = session.tracker_reasons();
  }
  STASIS_ASSIGN(result.exchanges, exchange(session, requests, options.timeout, context));
  if (!options.launch.tracker.empty()) {
    STASIS_ASSIGN(result.dirty, session.dirty());
  }
  if (!options.save.empty()) {
    STASIS_ASSIGN(result.saved, save_snapshot(session, options.save, session::SaveKind::kFull,
                                              options.write, context));
  }
  if (*options.until == Until::kExit) {
    STASIS_ASSIGN(result.exit_code, wait_exit(session, options, nullptr, context));
  }
  return {};
}

void report_text(const RunOptions& options, const RunResult& result, Output& output) {
  print_exchanges(result.exchanges, output);
  if (result.ready_ns) {
    output.text(fmt::format("guest '{}' was ready after {} ({} of memory, {} vCPU{})\n",
                            options.launch.guest, format_duration(*result.ready_ns),
                            format_bytes(options.launch.memory_bytes), options.launch.vcpus,
                            options.launch.vcpus == 1 ? "" : "s"));
  }
  if (options.explain) {
    for (const std::string& reason : result.tracker_reasons) {
      output.text(fmt::format("tracker: {}\n", reason));
    }
  }
  if (result.dirty) {
    output.text(
        fmt::format("dirty since ready: {}\n", describe(*result.dirty, options.launch.tracker)));
  }
  if (result.saved) {
    output.text(describe(options.save, *result.saved));
  }
  if (result.series) {
    output.text(describe(*result.series));
  }
  // A Linux program that ends well has said all there is to say, and what is not read by a person
  // is to hold what it said alone.
  const bool is_silent = options.launch.linux_program &&
                         (result.exit_code.value_or(0) == 0 || !output.stdout_is_terminal());
  if (result.exit_code && !is_silent) {
    output.text(
        fmt::format("guest '{}' exited with code {}\n", options.launch.guest, *result.exit_code));
  }
}

void report_json(const RunOptions& options, std::string_view backend, const RunResult& result,
                 session::Session& session, Output& output) {
  using Json = nlohmann::ordered_json;
  Json& json = output.json();
  json["guest"] = options.launch.guest;
  json["backend"] = backend;
  json["memory_bytes"] = options.launch.memory_bytes;
  json["vcpus"] = options.launch.vcpus;
  json["ready_ns"] = result.ready_ns ? Json(*result.ready_ns) : Json(nullptr);
  json["requests"] = to_json(result.exchanges);
  if (result.dirty) {
    json["dirty"] = to_json(*result.dirty, options.launch.tracker);
  }
  if (options.explain) {
    json["tracker_reasons"] = result.tracker_reasons;
  }
  if (result.saved) {
    json["saved"] = to_json(*result.saved);
    json["saved"]["path"] = options.save;
  }
  if (result.series) {
    json["series"] = to_json(*result.series);
  }
  json["exit_code"] = result.exit_code ? Json(*result.exit_code) : Json(nullptr);
  if (const std::optional<int> signal = session.ending_signal()) {
    json["signal"] = *signal;
  }
  json["console"] = session.console();
  if (Result<session::SessionCounters> counters = session.counters()) {
    json["counters"] = to_json(*counters);
  }
}

// Options and words that the chosen guest does not understand must not pass for understood.
Result<void> check_kernel_options(const RunOptions& options) {
  const session::KernelOptions& kernel = options.kernel;
  const bool is_kernel = options.launch.guest == kKernelGuest;
  const bool has_options =
      !kernel.kernel.empty() || !kernel.initrd.empty() || !kernel.command_line.empty();
  if (has_options && !is_kernel) {
    return Error{Errc::kInvalidArgument, 0,
                 "--kernel, --initrd and --cmdline are of the guest 'linux': stasis run linux"};
  }
  if (is_kernel && !options.launch.arguments.empty()) {
    return Error{Errc::kInvalidArgument, 0,
                 "the guest 'linux' takes no arguments behind --; use --cmdline or --request"};
  }
  return {};
}

// What the words before and behind "--" start: a bare guest, or a Linux program.
Result<void> choose_guest(RunOptions& options, const Context& context) {
  session::LaunchOptions& launch = options.launch;
  launch.arguments = context.guest_arguments;
  STASIS_TRY(check_kernel_options(options));
  if (launch.guest == kKernelGuest) {
    launch.kernel = options.kernel;
    launch.memory_bytes = options.memory_bytes.value_or(kKernelMemoryBytes);
    options.until = options.until.value_or(Until::kReady);
    return {};
  }
  if (!launch.guest.empty()) {
    launch.memory_bytes = options.memory_bytes.value_or(launch.memory_bytes);
    options.until = options.until.value_or(Until::kReady);
    return {};
  }
  if (launch.arguments.empty()) {
    return Error{Errc::kInvalidArgument, 0,
                 "nothing to run: name a GUEST, or a Linux program behind --"};
  }
  launch.guest = launch.arguments.front();
  launch.arguments.erase(launch.arguments.begin());
  STASIS_ASSIGN(options.linux_program.program, find_program(launch.guest));
  launch.linux_program = options.linux_program;
  launch.memory_bytes = options.memory_bytes.value_or(kLinuxMemoryBytes);
  // Whoever saves it or asks it something expects it to wait; else it is a program like any other.
  const bool waits =
      !options.save.empty() || !options.requests.empty() || !options.launch.tracker.empty();
  options.until = options.until.value_or(waits ? Until::kReady : Until::kExit);
  return {};
}

Result<ExitCode> run(RunOptions options, Context& context) {
  STASIS_TRY(choose_guest(options, context));
  if (options.explain && options.launch.tracker != snapshot::kAutoTracker) {
    return Error{Errc::kInvalidArgument, 0,
                 "--explain says why a tracker was chosen: it needs --tracker auto"};
  }
  if (options.periodic.every.count() > 0) {
    STASIS_ASSIGN(const session::SeriesOptions series, series_of(options));
    STASIS_TRY(check_series(series));
  } else if (!options.save.empty()) {
    STASIS_TRY(check_target(options.save, options.write));
  } else if (options.write.live) {
    return Error{Errc::kInvalidArgument, 0, "--live says how to save: it needs --save DIR"};
  }
  STASIS_ASSIGN(
      const std::vector<Request> requests,
      read_requests(options.requests, options.launch.linux_program
                                          ? linux_guest::vm::LinuxProcess::kRequestBytesMax
                                          : std::size_t{abi::kRequestBytesMax}));
  STASIS_ASSIGN(std::unique_ptr<HypervisorBackend> backend,
                session::make_backend(options.backend, context.backends));
  options.launch.console = console_printer(context.output);
  STASIS_ASSIGN(std::unique_ptr<session::Session> session,
                session::Session::launch(*backend, options.launch));
  if (options.launch.tracker == snapshot::kAutoTracker || options.periodic.every.count() > 0) {
    prepare_auto_tracker(backend->capabilities(), options.write, options.launch.tracker_options);
  }
  RunResult result;
  Result<void> outcome = drive(*session, options, requests, context, result);
  report_json(options, backend->name(), result, *session, context.output);
  if (options.trace) {
    if (Result<session::SessionCounters> counters = session->counters();
        counters && counters->linux_guest) {
      context.output.text(syscall_table(*counters->linux_guest));
    }
  }
  if (!outcome) {
    const std::optional<int> signal = session->ending_signal();
    if (signal && outcome.error().code == Errc::kGuestFault && !interrupted()) {
      context.output.fail(json_code(Errc::kGuestFault), outcome.error().message, "");
      return exit_code_of_signal(*signal);
    }
    return std::move(outcome).error();
  }
  report_text(options, result, context.output);
  if (options.launch.linux_program) {
    return exit_code_of_program(result.exit_code.value_or(0));
  }
  return result.exit_code.value_or(0) == 0 ? ExitCode::kOk : ExitCode::kNegative;
}

}  // namespace

CommandFunction add_run(CommandOptions& app) {
  auto options = std::make_shared<RunOptions>();
  app.add_option(
         "GUEST", options->launch.guest,
         "Name of a bare guest, path of its ELF file, toy:NAME with --backend mock, or linux, "
         "an arm64 Linux kernel; without it, `-- PROGRAM ARGUMENTS` starts a Linux program")
      .type_name("");
  app.add_option("--backend", options->backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  add_size(app, "--memory", options->memory_bytes,
           "Guest RAM [256 MiB; 1 GiB for a Linux program, 512 MiB for a kernel]");
  add_count(app, "--vcpus", options->launch.vcpus, UINT32_MAX, "Virtual CPUs");
  add_choice<BackingKind>(app, "--backing", options->launch.backing,
                          {{"anonymous", BackingKind::kAnonymous}, {"memfd", BackingKind::kMemfd}},
                          "What the host keeps behind guest RAM");
  add_choice<HugePages>(app, "--huge-pages", options->launch.huge_pages,
                        {{"never", HugePages::kNever},
                         {"transparent", HugePages::kTransparent},
                         {"hugetlb", HugePages::kHugetlb}},
                        "Huge pages for guest RAM");
  add_choice<std::optional<Until>>(
      app, "--until", options->until, {{"ready", Until::kReady}, {"exit", Until::kExit}},
      "When to stop; requests and --save come before exit [ready; exit for a Linux program that is "
      "neither saved nor asked]");
  add_linux_options(app, options->linux_program);
  add_kernel_options(app, options->kernel);
  app.add_flag("--trace", options->trace, "List the system calls that PROGRAM made");
  add_requests(app, options->requests);
  app.add_option("--save", options->save, "Save the guest here, after the requests")
      .type_name("DIR");
  add_periodic_options(app, options->periodic);
  add_write_options(app, options->write);
  add_live_options(app, options->write);
  add_tracker_options(app, options->launch.tracker, options->launch.tracker_options,
                      "Track what the guest writes between ready and the save, and report it");
  app.add_flag("--explain", options->explain, "With --tracker auto: say why it is what it is");
  add_duration(app, "--timeout", options->timeout, "Longest wait for the guest, each time");
  app.footer(
      "Arguments after -- go to the guest; without GUEST they are a Linux program and its own. "
      "Then the exit code is the program's, or 128 and the signal that killed it; an error of "
      "stasis itself ends as `stasis --help` says, with `stasis: error:` on standard error.\n\n"
      "Examples:\n"
      "  $ stasis run hello\n"
      "  $ stasis run hello --memory 64M --save warm --force\n"
      "  $ stasis run hello --save packed --layout packed --compress lz4 --force\n"
      "  $ stasis run hello --save series --save-every 100ms --keep 2 --force\n"
      "  $ stasis run hello --request hi --save alive --live --force\n"
      "  $ stasis run --allow-read /usr -- /bin/ls /usr\n"
      "  $ stasis run --allow-read /usr --save warm-shell --force -- /bin/sh -c "
      "\"read x < /dev/stasis; echo you said $x > /dev/stasis\"\n");
  return [options](Context& context) { return run(*options, context); };
}

}  // namespace stasis::cli
