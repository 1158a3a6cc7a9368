// stasis verify: every checksum and every extent of a whole chain.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/quantity.h"
#include "snapshot/operations.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct VerifyOptions {
  std::string path;
  std::uint32_t threads = 2;
};

Json to_json(const snapshot::Finding& finding) {
  Json json = {{"file", finding.file}};
  if (finding.offset) {
    json["offset"] = *finding.offset;
  }
  if (finding.range) {
    json["begin"] = finding.range->begin.value;
    json["bytes"] = finding.range->size;
  }
  json["cause"] = finding.cause;
  return json;
}

Result<ExitCode> verify(const VerifyOptions& options, Context& context) {
  snapshot::VerifyReport report;
  {
    Progress progress(fmt::format("verifying '{}'", options.path), context.progress_mode());
    snapshot::Supervision supervision;
    supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
    };
    supervision.cancel = &interrupt_flag();
    STASIS_ASSIGN(report, snapshot::verify(snapshot::posix_file_system(), options.path,
                                           options.threads, supervision));
  }
  Json& json = context.output.json();
  json["path"] = options.path;
  json["ok"] = report.findings.empty();
  json["snapshots"] = report.snapshots;
  json["checked_chunks"] = report.checked_chunks;
  json["checked_bytes"] = report.checked_bytes;
  json["findings"] = Json::array();
  for (const snapshot::Finding& finding : report.findings) {
    json["findings"].push_back(to_json(finding));
    context.output.text(printable(to_string(finding)) + "\n");
  }
  const std::string checked = fmt::format("{} snapshot{}, {} chunks, {}", report.snapshots,
                                          report.snapshots == 1 ? "" : "s", report.checked_chunks,
                                          format_bytes(report.checked_bytes));
  if (report.findings.empty()) {
    context.output.text(fmt::format("{}: everything is as it was written ({})\n",
                                    context.output.styled("ok", Style::kGreen), checked));
    return ExitCode::kOk;
  }
  context.output.text(
      fmt::format("{}: {} finding{} ({} checked)\n", context.output.styled("damaged", Style::kRed),
                  report.findings.size(), report.findings.size() == 1 ? "" : "s", checked));
  return ExitCode::kNegative;
}

}  // namespace

CommandFunction add_verify(CommandOptions& app) {
  auto options = std::make_shared<VerifyOptions>();
  app.add_option("SNAPSHOT", options->path, "Directory of a snapshot").required().type_name("");
  add_count(app, "--threads", options->threads, 64, "Threads that check");
  app.footer(
      "Prints every finding, with file and offset; exits with 1 if there are any.\n\n"
      "Examples:\n"
      "  $ stasis verify warm\n");
  return [options](Context& context) { return verify(*options, context); };
}

}  // namespace stasis::cli
