// The conversation between an experiment and the fresh process that makes one trial of it:
// `stasis-trial REQUEST`, both sides as JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/result.h"

namespace stasis::experiments {

// What to do. The kinds and their parameters are listed in trial_kinds.h. Value.
struct TrialRequest {
  std::string kind;
  std::map<std::string, std::string> parameters = {};

  [[nodiscard]] std::string text(const std::string& name, const std::string& fallback = {}) const;
  // kInvalidArgument naming the parameter if it is not a number. `fallback` if it is absent.
  [[nodiscard]] Result<std::uint64_t> number(const std::string& name, std::uint64_t fallback) const;
  friend bool operator==(const TrialRequest&, const TrialRequest&) = default;
};

// What came of it. Value.
struct TrialReply {
  std::map<std::string, double> metrics = {};
  std::string proof = {};
  std::string error = {};
  friend bool operator==(const TrialReply&, const TrialReply&) = default;
};

std::string to_json_text(const TrialRequest& request);
std::string to_json_text(const TrialReply& reply);
Result<TrialRequest> trial_request_from_json(std::string_view text);
Result<TrialReply> trial_reply_from_json(std::string_view text);

}  // namespace stasis::experiments
