// stasis verify-diff: does a differential snapshot hold all that changed?
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/range_list.h"
#include "snapshot/operations.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct VerifyDiffOptions {
  std::string difference, full;
  std::uint32_t threads = 2;
};

void report_pages(std::string_view key, std::string_view title, const GpaRanges& ranges,
                  std::uint64_t page_bytes, Output& output) {
  output.json()[fmt::format("{}_pages", key)] = total_bytes(ranges) / page_bytes;
  output.json()[std::string(key)] = to_json(ranges);
  output.text(fmt::format("{:<32}{:>9} pages\n", title, total_bytes(ranges) / page_bytes));
}

Result<ExitCode> verify_diff(const VerifyDiffOptions& options, Context& context) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const auto difference, snapshot::SnapshotChain::open(files, options.difference));
  STASIS_ASSIGN(const auto full, snapshot::SnapshotChain::open(files, options.full));
  snapshot::CompletenessReport report;
  {
    Progress progress("comparing", context.progress_mode());
    snapshot::Supervision supervision;
    supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
    };
    supervision.cancel = &interrupt_flag();
    STASIS_ASSIGN(report,
                  snapshot::verify_diff(files, *difference, *full, options.threads, supervision));
  }
  Output& output = context.output;
  Json& json = output.json();
  json["difference"] = options.difference;
  json["full"] = options.full;
  json["complete"] = report.complete();
  report_pages("changed", "changed since the parent", report.changed, report.page_size_bytes,
               output);
  report_pages("reported", "held by the difference", report.reported, report.page_size_bytes,
               output);
  report_pages("unchanged", "held though equal to the parent", report.unchanged,
               report.page_size_bytes, output);
  report_pages("missed", "changed but missed", report.missed, report.page_size_bytes, output);
  print_lines(report.missed, kRangesShown, "--json", output);
  report_pages("wrong", "held with other bytes", report.wrong, report.page_size_bytes, output);
  print_lines(report.wrong, kRangesShown, "--json", output);
  json["state"] = Json::array();
  for (const snapshot::FieldDifference& field : report.state) {
    json["state"].push_back({{"name", field.name}, {"difference", field.a}, {"full", field.b}});
  }
  if (!report.state.empty()) {
    output.text(fmt::format(
        "{} values of vCPUs and devices differ, '{}' for one: the snapshots are not of the same "
        "pause, and say nothing about each other\n",
        report.state.size(), printable(report.state.front().name)));
  } else if (report.complete()) {
    output.text(fmt::format("{}: the difference holds all that changed\n",
                            output.styled("complete", Style::kGreen)));
  } else {
    output.text(
        fmt::format("{}: a restore of the difference would not be the guest that was "
                    "saved\n",
                    output.styled("incomplete", Style::kRed)));
  }
  return report.complete() ? ExitCode::kOk : ExitCode::kNegative;
}

}  // namespace

CommandFunction add_verify_diff(CommandOptions& app) {
  auto options = std::make_shared<VerifyDiffOptions>();
  app.add_option("DIFFERENCE", options->difference, "Directory of a differential snapshot")
      .required()
      .type_name("");
  app.add_option("FULL", options->full, "Directory of a full one, taken in the same pause")
      .required()
      .type_name("");
  add_count(app, "--threads", options->threads, 64, "Threads that compare");
  app.footer(
      "Compares DIFFERENCE, laid over its parents, with FULL, page by page. Exits with 1 if a "
      "page\n"
      "that changed was missed, or if the two are not of the same pause. FULL comes from\n"
      "--full-copy of a differential save.\n\n"
      "Examples:\n"
      "  $ stasis restore warm --save small --diff --full-copy whole --force\n"
      "  $ stasis verify-diff small whole\n");
  return [options](Context& context) { return verify_diff(*options, context); };
}

}  // namespace stasis::cli
