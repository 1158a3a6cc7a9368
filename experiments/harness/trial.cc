#include "experiments/harness/trial.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <utility>

namespace stasis::experiments {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string TrialRequest::text(const std::string& name, const std::string& fallback) const {
  const auto found = parameters.find(name);
  return found == parameters.end() ? fallback : found->second;
}

Result<std::uint64_t> TrialRequest::number(const std::string& name, std::uint64_t fallback) const {
  const auto found = parameters.find(name);
  if (found == parameters.end()) {
    return fallback;
  }
  std::uint64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [stopped, failed] = std::from_chars(found->second.data(), end, value);
  if (failed != std::errc{} || stopped != end) {
    return Error{
        .code = Errc::kInvalidArgument,
        .message = "trial parameter " + name + ": '" + found->second + "' is not a whole number"};
  }
  return value;
}

std::string to_json_text(const TrialRequest& request) {
  Json json{{"kind", request.kind}, {"parameters", Json::object()}};
  for (const auto& [name, value] : request.parameters) {
    json["parameters"][name] = value;
  }
  return json.dump();
}

std::string to_json_text(const TrialReply& reply) {
  Json json{{"metrics", Json::object()}, {"proof", reply.proof}, {"error", reply.error}};
  for (const auto& [name, value] : reply.metrics) {
    if (std::isfinite(value)) {
      json["metrics"][name] = value;
    }
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<TrialRequest> trial_request_from_json(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    TrialRequest request{.kind = json.at("kind").get<std::string>()};
    for (const auto& [name, value] : json.at("parameters").items()) {
      request.parameters[name] = value.get<std::string>();
    }
    return request;
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = std::string("not a trial request: ") + exception.what()};
  }
}

Result<TrialReply> trial_reply_from_json(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    TrialReply reply;
    for (const auto& [name, value] : json.at("metrics").items()) {
      reply.metrics[name] = value.get<double>();
    }
    reply.proof = json.at("proof").get<std::string>();
    reply.error = json.at("error").get<std::string>();
    return reply;
  } catch (const nlohmann::json::exception& exception) {
    return Error{.code = Errc::kCorruption,
                 .message = std::string("not a trial reply: ") + exception.what()};
  }
}

}  // namespace stasis::experiments
