// Several runs as one page, and their numbers for other programs.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <system_error>

#include "experiments/harness/text_file.h"
#include "experiments/report/comparison.h"
#include "experiments/report/export.h"
#include "experiments/report/run_report.h"

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;

// As seen from the directory of `page`; absolute where there is no way.
std::string link_from(const std::string& page, const std::string& file) {
  std::error_code failed;
  const fs::path from = fs::absolute(page, failed).parent_path();
  const fs::path link = fs::proximate(file, from, failed);
  return failed ? fs::absolute(file, failed).string() : link.generic_string();
}

// The run in `options.against` if it is of the same experiment.
Result<std::optional<LoadedRun>> load_against(const PageOptions& options) {
  if (options.against.empty()) {
    return std::optional<LoadedRun>();
  }
  STASIS_ASSIGN(LoadedRun run, load_run(options.against));
  return std::optional<LoadedRun>(std::move(run));
}

}  // namespace

Result<Page> write_page(const std::vector<std::string>& directories, const PageOptions& options) {
  if (directories.empty()) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "a report needs the directory of a run"};
  }
  STASIS_ASSIGN(const std::optional<LoadedRun> against, load_against(options));
  Page page;
  page.html_path =
      options.html_path.empty() ? directories.front() + "/report.html" : options.html_path;
  std::vector<ReportData> runs;
  std::map<std::string, std::size_t> exported;
  bool is_compared = false;
  for (const std::string& directory : directories) {
    STASIS_ASSIGN(const LoadedRun run, load_run(directory));
    ReportData data = make_report(run, RunEnd::kFinished);
    data.rows_link = link_from(page.html_path, directory + "/rows.jsonl");
    if (against && against->plan.experiment == run.plan.experiment) {
      STASIS_ASSIGN(data.comparison, compare(*against, run, options.compare));
      is_compared = true;
    }
    if (!options.export_directory.empty()) {
      const std::size_t again = ++exported[run.plan.experiment];
      page.exported.push_back(fmt::format("{}/{}{}", options.export_directory, run.plan.experiment,
                                          again > 1 ? fmt::format("-{}", again) : std::string()));
      STASIS_TRY(export_run(page.exported.back(), data, run.table()));
    }
    page.runs.push_back(outcome_of(directory, data));
    runs.push_back(std::move(data));
  }
  if (against && !is_compared) {
    return Error{
        .code = Errc::kInvalidArgument,
        .message = fmt::format("{} is a run of '{}', and none of the runs of the report is",
                               options.against, against->plan.experiment)};
  }
  STASIS_TRY(write_text_file(page.html_path, render_html(runs)));
  return page;
}

}  // namespace stasis::experiments
