// stasis policy: the restore policies, and what each is composed of.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/table.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/policies/policy_file.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const snapshot::PolicySpec& spec) {
  Json json = {{"name", spec.name},
               {"summary", spec.summary},
               {"after", spec.after.empty() ? Json(nullptr) : Json(spec.after)},
               {"memory", name_of(spec.memory)},
               {"read_ahead", spec.read_ahead ? Json(name_of(*spec.read_ahead)) : Json(nullptr)},
               {"faults", nullptr},
               {"prefetch", nullptr}};
  if (spec.memory == snapshot::Underlay::kMissing) {
    json["faults"] = {{"handlers", spec.faults.handlers},
                      {"window_pages", spec.faults.window_pages},
                      {"zero_pages", name_of(spec.faults.zero_pages)}};
  }
  if (spec.prefetch) {
    json["prefetch"] = {{"by", name_of(spec.prefetch->by)},
                        {"order", name_of(spec.prefetch->order)},
                        {"when", name_of(spec.prefetch->when)},
                        {"read", name_of(spec.prefetch->read)},
                        {"threads", spec.prefetch->threads}};
  }
  return json;
}

Result<ExitCode> list(Context& context) {
  Json items = Json::array();
  Table table({"policy", "memory", "prefetch", ""});
  for (const snapshot::NamedPolicy& named : snapshot::named_policies()) {
    STASIS_ASSIGN(const snapshot::PolicySpec spec, snapshot::find_policy(named.name));
    items.push_back(to_json(spec));
    table.add_row({spec.name, std::string(name_of(spec.memory)),
                   spec.prefetch ? fmt::format("{}, {}", name_of(spec.prefetch->by),
                                               name_of(spec.prefetch->when))
                                 : "-",
                   spec.summary});
  }
  context.output.json()["policies"] = std::move(items);
  context.output.text(table.render());
  return ExitCode::kOk;
}

Result<ExitCode> show(const std::string& name, Context& context) {
  STASIS_ASSIGN(const snapshot::PolicySpec spec, snapshot::load_policy(name));
  context.output.json()["policy"] = to_json(spec);
  context.output.text(
      fmt::format("{}: {}\n{}\n{}", context.output.styled(printable(spec.name), Style::kBold),
                  printable(spec.summary), spec.after.empty() ? "" : printable(spec.after) + "\n",
                  describe(spec)));
  for (const snapshot::NamedPolicy& named : snapshot::named_policies()) {
    if (named.name == name) {
      context.output.text(fmt::format("\n{}", named.text));
    }
  }
  return ExitCode::kOk;
}

}  // namespace

CommandFunction add_policy(CommandOptions& app) {
  auto name = std::make_shared<std::string>();
  app.require_command();
  CommandOptions list_command = app.add_command("list", "Name every restore policy");
  list_command.footer(
      "Examples:\n"
      "  $ stasis policy list\n");
  CommandOptions show_command = app.add_command("show", "Say what one is composed of");
  show_command.add_option("NAME", *name, "Of a policy, or a file NAME.json of one's own")
      .required()
      .type_name("");
  show_command.footer(
      "What it prints last is a policy's file: change it and its name, and give the file to\n"
      "--policy.\n\n"
      "Examples:\n"
      "  $ stasis policy show working-set\n");
  app.footer(
      "Examples:\n"
      "  $ stasis policy list\n"
      "  $ stasis policy show working-set\n");
  return [name, list_command](Context& context) -> Result<ExitCode> {
    return list_command.given() ? list(context) : show(*name, context);
  };
}

}  // namespace stasis::cli
