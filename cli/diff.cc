// stasis diff: two snapshots, page by page and register by register.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/quantity.h"
#include "cli/range_list.h"
#include "cli/table.h"
#include "snapshot/operations.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct DiffOptions {
  std::string a, b;
  std::uint32_t threads = 2;
  bool all = false;
};

void print_ranges(std::string_view title, const GpaRanges& ranges, bool all, Output& output) {
  if (ranges.empty()) {
    return;
  }
  output.text(fmt::format("{}: {} in {} range{}\n", title, format_bytes(total_bytes(ranges)),
                          ranges.size(), ranges.size() == 1 ? "" : "s"));
  print_lines(ranges, all ? ranges.size() : kRangesShown, "--all", output);
}

Result<ExitCode> diff(const DiffOptions& options, Context& context) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const auto a, snapshot::SnapshotChain::open(files, options.a));
  STASIS_ASSIGN(const auto b, snapshot::SnapshotChain::open(files, options.b));
  snapshot::DiffReport report;
  {
    Progress progress("comparing", context.progress_mode());
    snapshot::Supervision supervision;
    supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
    };
    supervision.cancel = &interrupt_flag();
    STASIS_ASSIGN(report, snapshot::diff(*a, *b, options.threads, supervision));
  }
  const bool equal = report.pages.empty() && report.only_in_a.empty() && report.only_in_b.empty() &&
                     report.fields.empty();
  Output& output = context.output;
  Json& json = output.json();
  json["a"] = options.a;
  json["b"] = options.b;
  json["equal"] = equal;
  json["compared_bytes"] = report.compared_bytes;
  json["different_bytes"] = total_bytes(report.pages);
  json["pages"] = to_json(report.pages);
  json["only_in_a"] = to_json(report.only_in_a);
  json["only_in_b"] = to_json(report.only_in_b);
  json["fields"] = Json::array();
  print_ranges("pages that differ", report.pages, options.all, output);
  print_ranges(fmt::format("only in '{}'", options.a), report.only_in_a, options.all, output);
  print_ranges(fmt::format("only in '{}'", options.b), report.only_in_b, options.all, output);
  Table table({"field", options.a, options.b});
  for (const snapshot::FieldDifference& field : report.fields) {
    json["fields"].push_back({{"name", field.name}, {"a", field.a}, {"b", field.b}});
    table.add_row({printable(field.name), printable(field.a), printable(field.b)});
  }
  if (!report.fields.empty()) {
    output.text(table.render());
  }
  if (equal) {
    output.text("the snapshots hold the same machine\n");
  }
  return equal ? ExitCode::kOk : ExitCode::kNegative;
}

}  // namespace

CommandFunction add_diff(CommandOptions& app) {
  auto options = std::make_shared<DiffOptions>();
  app.add_option("A", options->a, "Directory of a snapshot").required().type_name("");
  app.add_option("B", options->b, "Directory of another one").required().type_name("");
  add_count(app, "--threads", options->threads, 64, "Threads that compare");
  app.add_flag("--all", options->all, "Show every range of pages");
  app.footer(
      "Compares contents, not files: layout, compression and parents do not matter. Exits with 1\n"
      "if anything differs.\n\n"
      "Examples:\n"
      "  $ stasis diff warm packed\n");
  return [options](Context& context) { return diff(*options, context); };
}

}  // namespace stasis::cli
