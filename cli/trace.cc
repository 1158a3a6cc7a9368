// stasis trace: which pages a run from a snapshot touches, in which order.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/quantity.h"
#include "cli/requests.h"
#include "cli/table.h"
#include "guests/linux/vm/process.h"
#include "session/session.h"
#include "snapshot/access_trace.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;
using snapshot::AccessTrace;
using snapshot::TracePhase;

struct TraceOptions {
  std::string snapshot;
  std::string other;
  std::string out;
  std::string backend = "auto";
  std::vector<std::string> requests;
  bool all = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

constexpr std::chrono::nanoseconds kSettleTime = std::chrono::seconds(1);

Result<ExitCode> record(const TraceOptions& options, Context& context) {
  STASIS_ASSIGN(const std::vector<Request> requests,
                read_requests(options.requests, linux_guest::vm::LinuxProcess::kRequestBytesMax));
  STASIS_ASSIGN(const std::unique_ptr<HypervisorBackend> backend,
                session::make_backend(options.backend, context.backends));
  session::RestoreOptions restore;
  restore.policy = "uffd";
  restore.policy_options.huge_pages = HugePages::kNever;
  restore.record_trace = true;
  STASIS_ASSIGN(const std::unique_ptr<session::Session> session,
                session::Session::restore(*backend, options.snapshot, restore));
  STASIS_ASSIGN(const std::vector<Exchange> exchanges,
                exchange(*session, requests, options.timeout, context));
  STASIS_TRY(session->settle(kSettleTime));
  STASIS_ASSIGN(const session::TraceReport report, session->record_trace(options.out));
  Json& json = context.output.json();
  json["snapshot"] = options.snapshot;
  json["backend"] = backend->name();
  json["accesses"] = report.accesses;
  json["written_bytes"] = report.written_bytes;
  json["read_bytes"] = report.read_bytes;
  json["requests"] = to_json(exchanges);
  print_exchanges(exchanges, context.output);
  context.output.text(fmt::format(
      "access trace recorded: {} written first, {} read first, {} pages\n",
      format_bytes(report.written_bytes), format_bytes(report.read_bytes), report.accesses));
  return ExitCode::kOk;
}

// What of a trace fell into one phase.
Json add_phase(const AccessTrace& trace, TracePhase phase, Table& table) {
  std::uint64_t pages = 0;
  std::uint64_t written = 0;
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  for (const snapshot::PageAccess& access : trace.accesses) {
    if (access.phase == phase) {
      begin_ns = pages == 0 ? access.at_ns : begin_ns;
      end_ns = access.at_ns;
      ++pages;
      written += access.access == PopulateFor::kWriting ? 1U : 0U;
    }
  }
  table.add_row({std::string(name_of(phase)), fmt::format("{}", pages), fmt::format("{}", written),
                 format_bytes(pages * trace.unit_bytes), format_duration(begin_ns),
                 format_duration(end_ns)});
  return {{"phase", name_of(phase)},
          {"pages", pages},
          {"written", written},
          {"begin_ns", begin_ns},
          {"end_ns", end_ns}};
}

Result<ExitCode> show(const TraceOptions& options, Context& context) {
  STASIS_ASSIGN(const AccessTrace trace,
                snapshot::read_trace_file(snapshot::posix_file_system(), options.snapshot));
  Json& json = context.output.json();
  json["snapshot_id"] = to_string(trace.snapshot);
  json["content_root"] = to_string(trace.root);
  json["unit_bytes"] = trace.unit_bytes;
  json["created_ns"] = trace.created_ns;
  json["phases"] = Json::array();
  Table table(
      {"phase", "pages", "written", "bytes", "from", "to"},
      {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  for (const TracePhase phase : {TracePhase::kRestore, TracePhase::kStart, TracePhase::kRequest}) {
    json["phases"].push_back(add_phase(trace, phase, table));
  }
  context.output.text(fmt::format("of snapshot {}, recorded {}\n{}", to_string(trace.snapshot),
                                  format_time(trace.created_ns), table.render()));
  if (options.all) {
    json["accesses"] = Json::array();
    for (const snapshot::PageAccess& access : trace.accesses) {
      const bool written = access.access == PopulateFor::kWriting;
      json["accesses"].push_back({{"page", access.page.value},
                                  {"at_ns", access.at_ns},
                                  {"written", written},
                                  {"phase", name_of(access.phase)}});
      context.output.text(fmt::format("{:>12} {:#014x} {} {}\n", format_duration(access.at_ns),
                                      access.page.value, written ? "w" : "r",
                                      name_of(access.phase)));
    }
  }
  return ExitCode::kOk;
}

Result<ExitCode> diff(const TraceOptions& options, Context& context) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const AccessTrace a, snapshot::read_trace_file(files, options.snapshot));
  STASIS_ASSIGN(const AccessTrace b, snapshot::read_trace_file(files, options.other));
  STASIS_ASSIGN(const snapshot::TraceComparison result, compare_traces(a, b));
  const bool same_snapshot = a.snapshot == b.snapshot && a.root == b.root;
  const bool equal = result.only_in_a == 0 && result.only_in_b == 0;
  context.output.json() = {{"a", options.snapshot},
                           {"b", options.other},
                           {"same_snapshot", same_snapshot},
                           {"unit_bytes", a.unit_bytes},
                           {"common_pages", result.common},
                           {"only_in_a_pages", result.only_in_a},
                           {"only_in_b_pages", result.only_in_b},
                           {"written_otherwise_pages", result.written_otherwise},
                           {"common_prefix_accesses", result.common_prefix}};
  if (!same_snapshot) {
    context.output.warn("the traces are of different snapshots");
  }
  const std::uint64_t all = result.common + result.only_in_b;
  context.output.text(fmt::format(
      "{} pages are in both ({:.1f} % of the second), {} only in the first, {} only in the second\n"
      "{} of those in both were first written in one and first read in the other\n"
      "the first {} accesses are to the same pages\n",
      result.common,
      all == 0 ? 100.0 : 100.0 * static_cast<double>(result.common) / static_cast<double>(all),
      result.only_in_a, result.only_in_b, result.written_otherwise, result.common_prefix));
  return equal ? ExitCode::kOk : ExitCode::kNegative;
}

}  // namespace

CommandFunction add_trace(CommandOptions& app) {
  auto options = std::make_shared<TraceOptions>();
  app.require_command();
  CommandOptions record_command =
      app.add_command("record", "Restore a snapshot and note every page that it touches");
  record_command.add_option("SNAPSHOT", options->snapshot, "Directory of a snapshot")
      .required()
      .type_name("");
  record_command
      .add_option("--out", options->out, "Write the trace here [beside SNAPSHOT, for its restores]")
      .type_name("FILE");
  record_command
      .add_option("--backend", options->backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  add_requests(record_command, options->requests);
  add_duration(record_command, "--timeout", options->timeout,
               "Longest wait for the guest, each time");
  record_command.footer(
      "Restores with the policy uffd, whose handler sees every first touch of a page.\n\n"
      "Examples:\n"
      "  $ stasis trace record warm --request hello\n");
  CommandOptions show_command = app.add_command("show", "Say what a trace holds");
  show_command.add_option("TRACE", options->snapshot, "A snapshot, or a file of --out")
      .required()
      .type_name("");
  show_command.add_flag("--all", options->all, "Every access, in order");
  show_command.footer(
      "Examples:\n"
      "  $ stasis trace show warm\n");
  CommandOptions diff_command = app.add_command("diff", "Compare two traces page by page");
  diff_command.add_option("A", options->snapshot, "A snapshot, or a file of --out")
      .required()
      .type_name("");
  diff_command.add_option("B", options->other, "Another one").required().type_name("");
  diff_command.footer(
      "Exits with 1 if one has pages that the other has not.\n\n"
      "Examples:\n"
      "  $ stasis trace diff warm warm\n");
  app.footer(
      "Examples:\n"
      "  $ stasis trace record warm --request hello\n"
      "  $ stasis trace show warm\n");
  return [options, record_command, show_command](Context& context) -> Result<ExitCode> {
    if (record_command.given()) {
      return record(*options, context);
    }
    return show_command.given() ? show(*options, context) : diff(*options, context);
  };
}

}  // namespace stasis::cli
