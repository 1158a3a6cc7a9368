// stasis report: runs as one page.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "experiments/experiment.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct ReportOptions {
  std::vector<std::string> directories;
  experiments::PageOptions page;
};

Result<ExitCode> report(const ReportOptions& options, Context& context) {
  STASIS_ASSIGN(const experiments::Page page,
                experiments::write_page(options.directories, options.page));
  Json runs = Json::array();
  for (const experiments::RunOutcome& run : page.runs) {
    runs.push_back({{"directory", run.directory},
                    {"rows_path", run.rows_path},
                    {"rows", run.rows},
                    {"tainted_rows", run.tainted_rows},
                    {"failed_rows", run.failed_rows},
                    {"quotable", run.quotable},
                    {"not_quotable_because", run.not_quotable_because}});
  }
  Json& json = context.output.json();
  json["html_path"] = page.html_path;
  json["exported"] = page.exported;
  json["runs"] = std::move(runs);
  context.output.text(fmt::format("report: {}\n", page.html_path));
  for (const std::string& folder : page.exported) {
    context.output.text(fmt::format("data:   {}\n", folder));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandFunction add_report(CommandOptions& app) {
  auto options = std::make_shared<ReportOptions>();
  app.add_option("DIR", options->directories, "Directories of `stasis experiment run`")
      .required()
      .type_name("...");
  app.add_option("--out", options->page.html_path, "The page [report.html in the first DIR]")
      .type_name("FILE");
  app.add_option("--against", options->page.against,
                 "A run that those of the same experiment are compared with")
      .type_name("DIR");
  app.add_option("--csv", options->page.export_directory,
                 "Write CSV files and gnuplot scripts there, too")
      .type_name("DIR");
  app.footer(
      "The page needs no other file and no network. `gnuplot figure-1.gnuplot` in a folder below\n"
      "that of --csv draws figure-1.svg.\n\n"
      "Examples:\n"
      "  $ stasis experiment run floor --quick --out results\n"
      "  $ stasis report results --csv results-csv\n");
  return [options](Context& context) { return report(*options, context); };
}

}  // namespace stasis::cli
