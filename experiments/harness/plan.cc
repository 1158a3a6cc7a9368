#include "experiments/harness/plan.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace stasis::experiments {
namespace {

constexpr std::uint32_t kPlanSchema = 1;

using Json = nlohmann::ordered_json;

Json json_of(const Factors& factors) {
  Json json = Json::object();
  for (const auto& [name, value] : factors) {
    json[name] = value;
  }
  return json;
}

Factors factors_of(const Json& json) {
  Factors factors;
  for (const auto& [name, value] : json.items()) {
    factors.emplace_back(name, value.get<std::string>());
  }
  return factors;
}

Json json_of(const Plan& plan) {
  Json json{{"schema", kPlanSchema},
            {"experiment", plan.experiment},
            {"backend", plan.backend},
            {"scale", plan.scale},
            {"seed", plan.seed},
            {"warmup_blocks", plan.warmup_blocks},
            {"identity", json_of(plan.identity)},
            {"cells", Json::array()}};
  for (const Cell& cell : plan.cells) {
    Json entry{{"id", cell.id}, {"factors", json_of(cell.factors)}, {"headline", cell.headline}};
    if (!cell.floor_cell.empty()) {
      entry["floor"] = {{"cell", cell.floor_cell}, {"metric", cell.floor_metric}};
    }
    json["cells"].push_back(std::move(entry));
  }
  return json;
}

Plan plan_of(const Json& json) {
  Plan plan;
  plan.experiment = json.at("experiment").get<std::string>();
  plan.backend = json.at("backend").get<std::string>();
  plan.scale = json.at("scale").get<std::string>();
  plan.seed = json.at("seed").get<std::uint64_t>();
  plan.trials = json.at("trials").get<std::uint32_t>();
  plan.warmup_blocks = json.at("warmup_blocks").get<std::uint32_t>();
  plan.identity = factors_of(json.at("identity"));
  for (const Json& entry : json.at("cells")) {
    Cell cell{.id = entry.at("id").get<std::string>(),
              .factors = factors_of(entry.at("factors")),
              .headline = entry.at("headline").get<std::string>(),
              .floor_cell = {},
              .floor_metric = {}};
    if (entry.contains("floor")) {
      cell.floor_cell = entry.at("floor").at("cell").get<std::string>();
      cell.floor_metric = entry.at("floor").at("metric").get<std::string>();
    }
    plan.cells.push_back(std::move(cell));
  }
  return plan;
}

}  // namespace

std::string to_json_text(const Plan& plan) {
  Json json = json_of(plan);
  json["trials"] = plan.trials;
  return json.dump(1) + "\n";
}

Result<Plan> plan_from_json(std::string_view text, const std::string& path) {
  try {
    const Json json = Json::parse(text);
    if (const auto schema = json.at("schema").get<std::uint32_t>(); schema != kPlanSchema) {
      return Error{.code = Errc::kMismatch,
                   .message = fmt::format("{}: plan schema {}, this program reads {}; use the "
                                          "version of stasis that made the run, or run it again",
                                          path, schema, kPlanSchema)};
    }
    return plan_of(json);
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kCorruption, .message = path + ": not a plan: " + exception.what()};
  }
}

std::string plan_id(const Plan& plan) {
  // FNV-1a: a name for a plan, not a defence.
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char character : json_of(plan).dump()) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001B3U;
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace stasis::experiments
