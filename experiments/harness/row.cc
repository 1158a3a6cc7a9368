#include "experiments/harness/row.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <utility>

#include "experiments/harness/text_file.h"

namespace stasis::experiments {
namespace {

using Json = nlohmann::ordered_json;

Json object_of(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json json = Json::object();
  for (const auto& [name, value] : pairs) {
    json[name] = value;
  }
  return json;
}

std::vector<std::pair<std::string, std::string>> pairs_of(const Json& json) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : json.items()) {
    pairs.emplace_back(name, value.get<std::string>());
  }
  return pairs;
}

Json json_of(const CacheReport& cache) {
  return {{"asked", cache.asked},
          {"verified", cache.verified},
          {"data_pages", cache.data_pages},
          {"cached_pages", cache.cached_pages},
          {"method", cache.method}};
}

CacheReport cache_of(const Json& json) {
  return {.asked = json.at("asked").get<std::string>(),
          .verified = json.at("verified").get<bool>(),
          .data_pages = json.at("data_pages").get<std::uint64_t>(),
          .cached_pages = json.at("cached_pages").get<std::uint64_t>(),
          .method = json.at("method").get<std::string>()};
}

Json json_of(const NoiseReading& noise) {
  return {{"psi_cpu_avg10", noise.psi_cpu_avg10},
          {"steal_share", noise.steal_share},
          {"foreign_cpus", noise.foreign_cpus},
          {"load_average", noise.load_average},
          {"window_s", noise.window_s}};
}

NoiseReading noise_of(const Json& json, const Json& taint) {
  return {.psi_cpu_avg10 = json.at("psi_cpu_avg10").get<double>(),
          .steal_share = json.at("steal_share").get<double>(),
          .foreign_cpus = json.at("foreign_cpus").get<double>(),
          .load_average = json.at("load_average").get<double>(),
          .window_s = json.at("window_s").get<double>(),
          .reasons = taint.get<std::vector<std::string>>()};
}

Row row_of(const Json& json) {
  Row row;
  row.experiment = json.at("experiment").get<std::string>();
  row.plan = json.at("plan").get<std::string>();
  row.backend = json.at("backend").get<std::string>();
  row.seed = json.at("seed").get<std::uint64_t>();
  row.cell = json.at("cell").get<std::string>();
  row.factors = pairs_of(json.at("factors"));
  row.block = json.at("block").get<std::uint32_t>();
  row.order = json.at("order").get<std::uint32_t>();
  row.warmup = json.at("warmup").get<bool>();
  row.wall_ns = json.at("wall_ns").get<std::int64_t>();
  row.quotable = json.at("quotable").get<bool>();
  row.cache = cache_of(json.at("cache"));
  row.noise = noise_of(json.at("noise"), json.at("taint"));
  for (const auto& [name, value] : json.at("metrics").items()) {
    row.metrics[name] = value.get<double>();
  }
  row.proof = json.value("proof", std::string());
  row.error = json.value("error", std::string());
  return row;
}

// Calls `use` with each complete line and its number, until it returns an error.
template <typename Use>
Result<void> for_each_line(std::string_view text, Use use) {
  std::size_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) {
      return {};
    }
    STASIS_TRY(use(text.substr(begin, end - begin), number));
    begin = end + 1;
  }
  return {};
}

}  // namespace

std::string to_json_line(const Row& row, const HostFacts& host) {
  Json metrics = Json::object();
  for (const auto& [name, value] : row.metrics) {
    if (std::isfinite(value)) {
      metrics[name] = value;
    }
  }
  Json json{{"schema", kRowSchema},
            {"experiment", row.experiment},
            {"plan", row.plan},
            {"backend", row.backend},
            {"seed", row.seed},
            {"cell", row.cell},
            {"factors", object_of(row.factors)},
            {"block", row.block},
            {"order", row.order},
            {"warmup", row.warmup},
            {"wall_ns", row.wall_ns},
            {"quotable", row.quotable},
            {"tainted", row.tainted()},
            {"taint", row.noise.reasons},
            {"cache", json_of(row.cache)},
            {"noise", json_of(row.noise)},
            {"metrics", std::move(metrics)}};
  if (!row.proof.empty()) {
    json["proof"] = row.proof;
  }
  if (!row.error.empty()) {
    json["error"] = row.error;
  }
  json["host"] = object_of(host);
  // Bytes that are not UTF-8 (a guest's answer) become U+FFFD instead of an exception.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Row> row_from_json(std::string_view line, const std::string& where) {
  try {
    const Json json = Json::parse(line);
    if (const auto schema = json.at("schema").get<std::uint32_t>(); schema != kRowSchema) {
      return Error{
          .code = Errc::kMismatch,
          .message = fmt::format("{}: row schema {}, this program reads {}; use the version "
                                 "of stasis that made the run, or run it again",
                                 where, schema, kRowSchema)};
    }
    return row_of(json);
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kCorruption, .message = where + ": not a row: " + exception.what()};
  }
}

Result<std::vector<Row>> read_rows(const std::string& path) {
  STASIS_ASSIGN(const std::string text, read_text_file(path));
  std::vector<Row> rows;
  STASIS_TRY(for_each_line(text, [&](std::string_view line, std::size_t number) -> Result<void> {
    STASIS_ASSIGN(Row row, row_from_json(line, fmt::format("{}:{}", path, number)));
    rows.push_back(std::move(row));
    return {};
  }));
  return rows;
}

Result<HostFacts> read_host_facts(const std::string& path) {
  STASIS_ASSIGN(const std::string text, read_text_file(path));
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) {
    return HostFacts{};
  }
  try {
    return pairs_of(Json::parse(text.substr(0, end)).at("host"));
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kCorruption,
                 .message = path + ":1: no host facts: " + exception.what()};
  }
}

}  // namespace stasis::experiments
