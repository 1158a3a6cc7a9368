// stasis doctor: what this host can do, why not, and how to mend it.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <memory>

#include "cli/command.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "guests/guest_files.h"
#include "session/backends.h"
#include "session/build_info.h"
#include "snapshot/live/mechanism_catalog.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/trackers/tracker_catalog.h"

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
  output.text("  --tracker auto takes the first of:\n");
  Json ranking = Json::array();
  for (const snapshot::TrackerChoice& choice : snapshot::rank_trackers(trackers)) {
    output.text(fmt::format("       {:<16} {}\n", choice.name, choice.reason));
    ranking.push_back({{"name", choice.name}, {"reason", choice.reason}});
  }
  output.json()["auto_tracker"] = std::move(ranking);
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

Result<ExitCode> doctor(const std::string& name, Context& context) {
  Output& output = context.output;
  report_host(output);
  const bool usable = report_backends(context.backends, output);
  Result<std::unique_ptr<HypervisorBackend>> backend =
      session::make_backend(name, context.backends);
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
  auto name = std::make_shared<std::string>("auto");
  app.add_option("--backend", *name, "Whose trackers and policies to show [auto]")
      .type_name("NAME");
  app.footer(
      "Exits with 4 when no backend can be used.\n\n"
      "Examples:\n"
      "  $ stasis doctor\n"
      "  $ stasis doctor --json\n");
  return [name](Context& context) { return doctor(*name, context); };
}

}  // namespace stasis::cli
