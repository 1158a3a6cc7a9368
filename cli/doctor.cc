// stasis doctor: what this host can do, why not, and how to mend it.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <memory>
#include <span>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "guests/guest_files.h"
#include "session/backends.h"
#include "session/build_info.h"
#include "session/calibration.h"
#include "session/calibration_file.h"
#include "snapshot/live/mechanism_catalog.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_choice.h"
#include "snapshot/trackers/tracker_models.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string mark(const Availability& availability, const Output& output) {
  return availability.available ? output.styled("yes", Style::kGreen)
                                : output.styled("no ", Style::kRed);
}

void print_line(const Availability& availability, std::string_view note, Output& output) {
  output.text(fmt::format("  {}  {:<16}{}\n", mark(availability, output), availability.name,
                          note.empty() ? "" : fmt::format(" {}", note)));
  if (!availability.available) {
    output.text(fmt::format("       why:  {}\n", availability.reason));
    if (!availability.cure.empty()) {
      output.text(fmt::format("       cure: {}\n", availability.cure));
    }
  }
}

void report_host(Output& output) {
  struct utsname names = {};
  uname(&names);
  const auto pages = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES));
  const std::uint64_t memory = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  output.json()["stasis"] = session::creator();
  output.json()["host"] = {{"system", names.sysname},
                           {"release", names.release},
                           {"machine", names.machine},
                           {"cpus", cpus},
                           {"memory_bytes", memory}};
  output.text(fmt::format("{}\n{} {} {}, {} CPUs, {} of memory\n\n", session::creator(),
                          names.sysname, names.release, names.machine, cpus, format_bytes(memory)));
}

// Returns whether some backend can be used without asking for it by name.
bool report_backends(const session::BackendOptions& options, Output& output) {
  output.text(output.styled("backends", Style::kBold) + "\n");
  Json list = Json::array();
  bool usable = false;
  for (const session::BackendInfo& info : session::list_backends(options)) {
    print_line(info.availability,
               info.summary + (info.on_request_only ? " (only with --backend)" : ""), output);
    Json item = to_json(info.availability);
    item["summary"] = info.summary;
    item["on_request_only"] = info.on_request_only;
    list.push_back(std::move(item));
    usable = usable || (info.availability.available && !info.on_request_only);
  }
  output.json()["backends"] = std::move(list);
  return usable;
}

void report_features(std::string_view title, std::string_view key,
                     const std::vector<Availability>& features, Output& output) {
  if (features.empty()) {
    return;
  }
  output.text("\n" + output.styled(title, Style::kBold) + "\n");
  Json list = Json::array();
  for (const Availability& feature : features) {
    print_line(feature, "", output);
    list.push_back(to_json(feature));
  }
  output.json()[std::string(key)] = std::move(list);
}

// What "auto" would take of `trackers` for `workload`, and why.
Json report_choice(std::span<const Availability> trackers, const snapshot::CostTable& costs,
                   const snapshot::TrackerWorkload& workload, Output& output) {
  const snapshot::TrackerRanking ranking = snapshot::rank_trackers(trackers, costs, workload);
  output.text(fmt::format("  --tracker auto, {}:\n", snapshot::describe(workload)));
  Json best_first = Json::array();
  for (const snapshot::RankedTracker& choice : ranking.best_first) {
    output.text(fmt::format("       {:<16} {}\n", choice.name, snapshot::describe(choice.cost)));
    best_first.push_back({{"name", choice.name},
                          {"reason", choice.reason},
                          {"predicted_ns", choice.cost.total_ns()},
                          {"arm_ns", choice.cost.arm_ns},
                          {"writes_ns", choice.cost.writes_ns},
                          {"collect_ns", choice.cost.collect_ns}});
  }
  Json passed_over = Json::array();
  for (const snapshot::RankedTracker& other : ranking.passed_over) {
    passed_over.push_back({{"name", other.name}, {"reason", other.reason}});
  }
  return {{"memory_pages", workload.memory_pages},
          {"dirty_pages", workload.dirty_pages},
          {"vcpus", workload.vcpus},
          {"ranking", std::move(best_first)},
          {"passed_over", std::move(passed_over)}};
}

// For two workloads that lie far apart.
void report_choices(std::span<const Availability> trackers, const Capabilities& capabilities,
                    Output& output) {
  const session::KnownCosts known = session::known_costs(capabilities);
  constexpr std::uint64_t kPages = (std::uint64_t{1} << 30U) / 4096;
  Json choices = Json::array();
  for (const std::uint64_t percent : {1U, 100U}) {
    choices.push_back(report_choice(trackers, known.costs,
                                    {.memory_pages = kPages,
                                     .resident_pages = kPages,
                                     .dirty_pages = kPages * percent / 100,
                                     .backend_protects = capabilities.write_protection},
                                    output));
  }
  output.text(fmt::format("       the figures are {}\n", known.costs.source));
  output.json()["auto_tracker"] = choices.front().at("ranking");
  output.json()["auto_tracker_choices"] = std::move(choices);
  output.json()["tracker_costs"] = {{"source", known.costs.source},
                                    {"calibrated", known.not_calibrated_because.empty()},
                                    {"path", session::calibration_path(capabilities)}};
}

void report_trackers(const Capabilities& capabilities, Output& output) {
  output.text("\n" + output.styled("dirty trackers", Style::kBold) + "\n");
  Json list = Json::array();
  const std::vector<Availability> trackers = snapshot::list_trackers(capabilities);
  for (const Availability& tracker : trackers) {
    const TrackerTraits traits = snapshot::promised_traits(tracker.name, capabilities);
    print_line(tracker,
               fmt::format("{}, {}{}", traits.exact ? "exact" : "may report clean pages",
                           traits.sees_host_writes ? "sees host writes" : "guest writes only",
                           traits.collects_while_running ? ", collects while vCPUs run" : ""),
               output);
    const snapshot::TrackerCosts costs = snapshot::tracker_costs(tracker.name);
    if (tracker.available) {
      output.text(fmt::format("       cost: arming: {}; a page's first write: {}; collecting: {}\n",
                              costs.arming, costs.first_write, costs.collecting));
    }
    Json item = to_json(tracker);
    item["costs"] = {{"arming", costs.arming},
                     {"first_write", costs.first_write},
                     {"collecting", costs.collecting}};
    item["exact"] = traits.exact;
    item["sees_host_writes"] = traits.sees_host_writes;
    item["granularity_bytes"] = traits.granularity_bytes;
    item["collects_while_running"] = traits.collects_while_running;
    list.push_back(std::move(item));
  }
  output.json()["trackers"] = std::move(list);
  report_choices(trackers, capabilities, output);
}

void report_backend_details(HypervisorBackend& backend, Output& output) {
  const Capabilities& can = backend.capabilities();
  output.json()["capabilities"] = {{"backend", backend.name()},
                                   {"architecture", name_of(can.architecture)},
                                   {"vcpus_max", can.vcpus_max},
                                   {"host_vcpus_max", can.host_vcpus_max},
                                   {"page_size_bytes", can.page_size_bytes},
                                   {"vms_per_process", can.vms_per_process},
                                   {"dirty_page_tracking", can.dirty_page_tracking},
                                   {"write_protection", can.write_protection},
                                   {"postcopy_restore", can.postcopy_restore},
                                   {"clock_policy", name_of(can.clock_policy)},
                                   {"cpu_features", can.cpu_features}};
  output.text(fmt::format("\n{} ({}): {}, up to {} vCPUs (the host allows {}), {} pages\n",
                          output.styled("capabilities", Style::kBold), backend.name(),
                          name_of(can.architecture), can.vcpus_max, can.host_vcpus_max,
                          format_bytes(can.page_size_bytes)));
  report_features("details", "notes", can.notes, output);
}

// Measures, and stores what was found.
Result<void> calibrate(HypervisorBackend& backend, Context& context) {
  const Capabilities& capabilities = backend.capabilities();
  const std::string path = session::calibration_path(capabilities);
  if (path.empty()) {
    return Error{Errc::kInvalidArgument, 0,
                 "--calibrate keeps what it finds below XDG_CACHE_HOME or HOME: set one of them to "
                 "an absolute path"};
  }
  Progress progress("measuring dirty trackers", context.progress_mode());
  session::CalibrationOptions options;
  options.progress = [&progress](std::uint64_t, std::uint64_t) { progress.tick(); };
  options.cancel = &interrupt_flag();
  STASIS_ASSIGN(const session::Calibration found, session::calibrate_trackers(backend, options));
  STASIS_TRY(
      session::write_calibration(path, found.costs, session::calibration_facts(capabilities)));
  context.output.text(
      fmt::format("calibrated {} dirty trackers into '{}'\n", found.costs.trackers.size(), path));
  Json left_out = Json::array();
  for (const Availability& tracker : found.left_out) {
    context.output.text(fmt::format("  not {}: {}\n", tracker.name, tracker.reason));
    left_out.push_back({{"name", tracker.name}, {"reason", tracker.reason}});
  }
  context.output.text("\n");
  context.output.json()["calibration"] = {
      {"path", path}, {"trackers", found.costs.trackers.size()}, {"left_out", left_out}};
  return {};
}

struct DoctorOptions {
  std::string backend = "auto";
  bool calibrate = false;
};

Result<ExitCode> doctor(const DoctorOptions& options, Context& context) {
  const std::string& name = options.backend;
  Output& output = context.output;
  report_host(output);
  const bool usable = report_backends(context.backends, output);
  Result<std::unique_ptr<HypervisorBackend>> backend =
      session::make_backend(name, context.backends);
  if (options.calibrate) {
    if (!backend) {
      return std::move(backend).error();
    }
    STASIS_TRY(calibrate(**backend, context));
  }
  // Without a backend: what the host alone decides.
  const Capabilities capabilities = backend ? (*backend)->capabilities() : Capabilities{};
  report_trackers(capabilities, output);
  report_features("live capture", "live", snapshot::list_live_mechanisms(capabilities), output);
  report_features("restore policies", "policies", snapshot::list_policies(capabilities), output);
  if (backend) {
    report_backend_details(**backend, output);
  }
  const std::vector<std::string> guests = guests::list_guests();
  output.json()["guests"] = guests;
  output.text(
      fmt::format("\n{}\n  {}\n", output.styled("guests", Style::kBold),
                  guests.empty() ? "none found" : fmt::format("{}", fmt::join(guests, " "))));
  output.json()["usable"] = usable;
  if (name != "auto" && !backend) {
    return std::move(backend).error();
  }
  output.text(usable ? "\nThis host can run guests.\n" : "\nThis host cannot run guests yet.\n");
  return usable ? ExitCode::kOk : ExitCode::kNotSupported;
}

}  // namespace

CommandFunction add_doctor(CommandOptions& app) {
  auto options = std::make_shared<DoctorOptions>();
  app.add_option("--backend", options->backend, "Whose trackers and policies to show [auto]")
      .type_name("NAME");
  app.add_flag("--calibrate", options->calibrate,
               "Measure for some seconds what dirty trackers cost here, for --tracker auto");
  app.footer(
      "Exits with 4 when no backend can be used.\n\n"
      "Examples:\n"
      "  $ stasis doctor\n"
      "  $ stasis doctor --json\n");
  return [options](Context& context) { return doctor(*options, context); };
}

}  // namespace stasis::cli
