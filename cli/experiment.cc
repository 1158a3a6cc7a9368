// stasis experiment: the measurements by name.
#include "experiments/experiment.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <memory>
#include <system_error>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/table.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct ExperimentOptions {
  std::string name;
  std::string directory;  // Of `report`.
  experiments::RunOptions run;
  std::string before, after;  // Directories of `compare`.
  experiments::CompareOptions compare;
  std::uint32_t trials = 0;
  bool quick = false;
};

// Names separated by commas.
void add_names(CommandOptions& app, const std::string& option, std::vector<std::string>& target,
               const std::string& description) {
  app.add_option(
         option,
         [&target](const std::string& text) -> Result<void> {
           std::size_t begin = 0;
           while (begin <= text.size()) {
             const std::size_t end = std::min(text.find(',', begin), text.size());
             if (begin == end) {
               return Error{Errc::kInvalidArgument, 0, "'" + text + "' has an empty name"};
             }
             target.push_back(text.substr(begin, end - begin));
             begin = end + 1;
           }
           return {};
         },
         description)
      .type_name("NAME,...");
}

Result<ExitCode> list(Context& context) {
  Json items = Json::array();
  Table table({"experiment", "question", "takes"});
  for (const experiments::ExperimentInfo& info : experiments::list()) {
    items.push_back({{"name", info.name}, {"question", info.question}, {"takes", info.takes}});
    table.add_row({info.name, info.question, info.takes});
  }
  context.output.json()["experiments"] = std::move(items);
  context.output.text(table.render());
  return ExitCode::kOk;
}

Json to_json(const experiments::CheckOutcome& check) {
  return {{"name", check.name},
          {"requirement", check.requirement},
          {"verdict", experiments::name_of(check.verdict)},
          {"within_noise", check.within_noise},
          {"value", check.value},
          {"low", check.low},
          {"high", check.high},
          {"limit", check.limit},
          {"figures", check.figures}};
}

ExitCode show(const experiments::RunOutcome& outcome, Output& output) {
  Json checks = Json::array();
  for (const experiments::CheckOutcome& check : outcome.checks) {
    checks.push_back(to_json(check));
  }
  Json& json = output.json();
  json["directory"] = outcome.directory;
  json["rows_path"] = outcome.rows_path;
  json["html_path"] = outcome.html_path;
  json["text_path"] = outcome.text_path;
  json["rows"] = outcome.rows;
  json["tainted_rows"] = outcome.tainted_rows;
  json["failed_rows"] = outcome.failed_rows;
  json["interrupted"] = outcome.interrupted;
  json["quotable"] = outcome.quotable;
  json["not_quotable_because"] = outcome.not_quotable_because;
  json["checks"] = std::move(checks);
  output.text(outcome.summary);
  output.text(fmt::format("\nrows:   {}\nreport: {}\n", outcome.rows_path, outcome.html_path));
  return outcome.interrupted ? ExitCode::kInterrupted : ExitCode::kOk;
}

Result<ExitCode> run(ExperimentOptions& options, Context& context) {
  options.run.scale = options.quick ? experiments::Scale::kQuick : experiments::Scale::kFull;
  options.run.trials = options.trials;
  options.run.progress = context.quiet ? nullptr : stderr;
  options.run.cancel = &interrupt_flag();
  STASIS_ASSIGN(const experiments::RunOutcome outcome, experiments::run(options.name, options.run));
  return show(outcome, context.output);
}

Result<ExitCode> report(const ExperimentOptions& options, Context& context) {
  STASIS_ASSIGN(const experiments::RunOutcome outcome, experiments::report(options.directory));
  return show(outcome, context.output);
}

Json to_json(const experiments::CellComparison& cell) {
  return {{"cell", cell.cell},
          {"metric", cell.metric},
          {"before_trials", cell.before_trials},
          {"after_trials", cell.after_trials},
          {"before", cell.before},
          {"after", cell.after},
          {"ratio", cell.ratio.estimate},
          {"low", cell.ratio.low},
          {"high", cell.ratio.high},
          {"cliffs_delta", cell.cliffs_delta},
          {"minimum_detectable_effect", cell.minimum_detectable_effect},
          {"verdict", experiments::name_of(cell.verdict)}};
}

Result<ExitCode> compare(const ExperimentOptions& options, Context& context) {
  STASIS_ASSIGN(const experiments::Comparison comparison,
                experiments::compare(options.before, options.after, options.compare));
  Json cells = Json::array();
  for (const experiments::CellComparison& cell : comparison.cells) {
    cells.push_back(to_json(cell));
  }
  Json& json = context.output.json();
  json["experiment"] = comparison.experiment;
  json["before"] = comparison.before;
  json["after"] = comparison.after;
  json["threshold"] = comparison.options.threshold;
  json["paired"] = comparison.options.paired;
  json["differences"] = comparison.differences;
  json["warnings"] = comparison.warnings;
  json["worse"] = comparison.worse;
  json["better"] = comparison.better;
  json["undecided"] = comparison.undecided;
  json["mean_ratio"] = comparison.mean_ratio ? Json(*comparison.mean_ratio) : Json();
  json["cells"] = std::move(cells);
  context.output.text(comparison.summary);
  return comparison.worse > 0 ? ExitCode::kNegative : ExitCode::kOk;
}

// A percentage as people write it, into a share of 1.
Result<void> parse_percent(const std::string& text, double& target) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc{} || stopped != end || !(value >= 0) || value >= 100) {
    return Error{Errc::kInvalidArgument, 0,
                 "'" + text + "' is not a percentage from 0 to below 100"};
  }
  target = value / 100;
  return {};
}

void add_run_command(CommandOptions& app, ExperimentOptions& options) {
  CommandOptions run_command = app.add_command("run", "Measure, and write rows and a report");
  run_command.add_option("NAME", options.name, "As `stasis experiment list` shows it")
      .required()
      .type_name("");
  run_command
      .add_option("--out", options.run.directory, "Where rows and reports go [runs/NAME-SEED]")
      .type_name("DIR");
  run_command.add_flag("--quick", options.quick,
                       "Small guests and few trials: minutes instead of half an hour");
  run_command
      .add_option("--backend", options.run.backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  add_count(run_command, "-n,--n,--trials", options.trials, 100000, "Of each cell [30; quick: 5]");
  experiments::Selection& selection = options.run.selection;
  add_names(run_command, "--policies", selection.policies,
            "Restore policies to compare, where the experiment does");
  add_names(run_command, "--profile,--profiles", selection.profiles,
            "Workloads, where the experiment has them: reap, faasnap/json, FILE.json, ...");
  add_names(run_command, "--trackers", selection.trackers,
            "Dirty trackers to compare, where the experiment does");
  add_names(run_command, "--cells", selection.cells,
            "Only cells with one of these in their names, and their floors");
  run_command.add_option("--seed", options.run.seed, "Of the order of trials [1]");
  run_command
      .add_option("--scratch", options.run.scratch_directory,
                  "Where snapshots are made; its file system is part of what is measured")
      .type_name("DIR");
  run_command.footer(
      "A run that was interrupted goes on when it is started again with the same --out.\n\n"
      "Examples:\n"
      "  $ stasis experiment run restore_latency --quick --out results\n"
      "  $ stasis experiment run restore_latency --cells restore/eager --n 100 --out closer\n");
}

CommandOptions add_compare_command(CommandOptions& app,
                                   const std::shared_ptr<ExperimentOptions>& options) {
  CommandOptions compare_command =
      app.add_command("compare", "Hold one run against another of the same experiment");
  compare_command.add_option("BEFORE", options->before, "Directory of a run")
      .required()
      .type_name("");
  compare_command.add_option("AFTER", options->after, "Directory of the run to be judged")
      .required()
      .type_name("");
  compare_command
      .add_option(
          "--threshold",
          [options = options.get()](const std::string& text) {
            return parse_percent(text, options->compare.threshold);
          },
          "By how much a cell must differ to count, with all of its interval [5]")
      .type_name("PERCENT");
  compare_command.add_flag("--paired", options->compare.paired,
                           "Pair values by block: for runs that were made block by block in turn");
  compare_command.footer(
      "Exit status 1 if a cell has become worse by more than the threshold, as far as the 95 % "
      "interval\n"
      "of the ratio of medians tells. A cell whose interval is too wide is undecided.\n\n"
      "Examples:\n"
      "  $ stasis experiment compare before after\n");
  return compare_command;
}

}  // namespace

CommandFunction add_experiment(CommandOptions& app) {
  auto options = std::make_shared<ExperimentOptions>();
  app.require_command();
  CommandOptions list_command = app.add_command("list", "Name every experiment");
  list_command.footer(
      "Examples:\n"
      "  $ stasis experiment list\n");
  add_run_command(app, *options);
  CommandOptions report_command = app.add_command("report", "Summarise an earlier run again");
  report_command.add_option("DIR", options->directory, "Of the earlier run")
      .required()
      .type_name("");
  report_command.footer(
      "Examples:\n"
      "  $ stasis experiment report results\n");
  const CommandOptions compare_command = add_compare_command(app, options);
  app.footer(
      "Examples:\n"
      "  $ stasis experiment list\n"
      "  $ stasis experiment run restore_latency --quick --out results\n");
  return [options, list_command, report_command,
          compare_command](Context& context) -> Result<ExitCode> {
    if (list_command.given()) {
      return list(context);
    }
    if (compare_command.given()) {
      return compare(*options, context);
    }
    return report_command.given() ? report(*options, context) : run(*options, context);
  };
}

}  // namespace stasis::cli
