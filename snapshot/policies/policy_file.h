// Restore policies as text: the JSON files of snapshot/policies/named/, which are part of the
// library, and a user's own.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/result.h"
#include "snapshot/policies/policy_spec.h"

namespace stasis::snapshot {

inline constexpr std::uint64_t kPolicyFileBytesMax = 64U << 10U;

// `origin` is what messages call the text. kCorruption for text that is no JSON or lacks a field;
// kInvalidArgument for a field or value that is unknown (the message lists the known ones) and for
// what check_spec() refuses. Safe for any bytes.
Result<PolicySpec> parse_policy(std::string_view text, std::string_view origin);

// kNotFound, kIo or kCorruption (too large) naming the file, and what parse_policy() says. The name
// of a named policy is taken (kInvalidArgument).
Result<PolicySpec> read_policy_file(const std::string& path);

// Value; the text lives for ever.
struct NamedPolicy {
  std::string_view name;  // As in the text; a test says so.
  std::string_view text;  // Of the file NAME.json.
};
// In the order in which they are listed.
std::span<const NamedPolicy> named_policies();

// kInvalidArgument for an unknown name; the message lists them all.
Result<PolicySpec> find_policy(std::string_view name);

// A named policy, or a file if `name` ends in ".json".
Result<PolicySpec> load_policy(const std::string& name);

}  // namespace stasis::snapshot
