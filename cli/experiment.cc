// stasis experiment: the measurements by name.
#include "experiments/experiment.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

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
  std::uint32_t trials = 0;
  bool quick = false;
};

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

}  // namespace

CommandFunction add_experiment(CommandOptions& app) {
  auto options = std::make_shared<ExperimentOptions>();
  app.require_command();
  CommandOptions list_command = app.add_command("list", "Name every experiment");
  list_command.footer(
      "Examples:\n"
      "  $ stasis experiment list\n");
  CommandOptions run_command = app.add_command("run", "Measure, and write rows and a report");
  run_command.add_option("NAME", options->name, "As `stasis experiment list` shows it")
      .required()
      .type_name("");
  run_command
      .add_option("--out", options->run.directory, "Where rows and reports go [runs/NAME-SEED]")
      .type_name("DIR");
  run_command.add_flag("--quick", options->quick,
                       "Small guests and few trials: minutes instead of half an hour");
  run_command
      .add_option("--backend", options->run.backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  add_count(run_command, "--trials", options->trials, 100000, "Of each cell; 0: the scale's");
  run_command.add_option("--seed", options->run.seed, "Of the order of trials [1]");
  run_command
      .add_option("--scratch", options->run.scratch_directory,
                  "Where snapshots are made; its file system is part of what is measured")
      .type_name("DIR");
  run_command.footer(
      "A run that was interrupted goes on when it is started again with the same --out.\n\n"
      "Examples:\n"
      "  $ stasis experiment run restore_latency --quick --out results\n");
  CommandOptions report_command = app.add_command("report", "Summarise an earlier run again");
  report_command.add_option("DIR", options->directory, "Of the earlier run")
      .required()
      .type_name("");
  report_command.footer(
      "Examples:\n"
      "  $ stasis experiment report results\n");
  app.footer(
      "Examples:\n"
      "  $ stasis experiment list\n"
      "  $ stasis experiment run restore_latency --quick --out results\n");
  return [options, list_command, report_command](Context& context) -> Result<ExitCode> {
    if (list_command.given()) {
      return list(context);
    }
    return report_command.given() ? report(*options, context) : run(*options, context);
  };
}

}  // namespace stasis::cli
