// The only file of snapshot/ that reads JSON.
#include "snapshot/policies/policy_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "snapshot/file_system.h"

namespace stasis::snapshot {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kFormat = 1;
constexpr int kNestingMax = 4;

// One object of the file. A field that nobody asked for is an error: a misspelt one would
// otherwise silently be its default.
class Fields {
 public:
  Fields(const Json& object, std::string_view origin, std::string path)
      : object_(object), origin_(origin), path_(std::move(path)) {}

  [[nodiscard]] const Json* find(std::string_view key) {
    known_.push_back(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  Result<void> text(std::string_view key, std::string& out) {
    const Json* const value = find(key);
    if (value == nullptr) {
      return {};
    }
    if (!value->is_string()) {
      return bad(key, "must be a text");
    }
    out = value->get<std::string>();
    return {};
  }

  Result<void> number(std::string_view key, std::uint32_t& out) {
    const Json* const value = find(key);
    if (value == nullptr) {
      return {};
    }
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > UINT32_MAX) {
      return bad(key, "must be a whole number");
    }
    out = value->get<std::uint32_t>();
    return {};
  }

  // One of `values` by its name_of(); `out` stays as it is if there is no such field.
  template <typename Enum>
  Result<void> choice(std::string_view key, std::initializer_list<Enum> values, Enum& out) {
    std::string name;
    STASIS_TRY(text(key, name));
    if (object_.find(key) == object_.end()) {
      return {};
    }
    std::string names;
    for (const Enum value : values) {
      if (name_of(value) == name) {
        out = value;
        return {};
      }
      names += (names.empty() ? "" : ", ") + std::string(name_of(value));
    }
    return bad(key, "is '" + name + "'; possible are: " + names);
  }

  [[nodiscard]] Result<Fields> object(std::string_view key, const Json& value) const {
    if (!value.is_object()) {
      return bad(key, "must be an object");
    }
    return Fields(value, origin_, path_ + std::string(key) + ".");
  }

  // To be called when all fields were asked for.
  [[nodiscard]] Result<void> check_known() const {
    for (const auto& item : object_.items()) {
      if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
        std::string names;
        for (const std::string_view name : known_) {
          names += (names.empty() ? "" : ", ") + std::string(name);
        }
        return bad(item.key(), "is unknown; possible are: " + names);
      }
    }
    return {};
  }

  [[nodiscard]] Error bad(std::string_view key, const std::string& why) const {
    return Error{
        Errc::kInvalidArgument, 0,
        std::string(origin_) + ": field " + path_ + std::string(key).substr(0, 40) + " " + why};
  }

 private:
  const Json& object_;
  std::string_view origin_;
  std::string path_;
  std::vector<std::string_view> known_;
};

Result<void> read_faults(Fields fields, FaultService& faults) {
  STASIS_TRY(fields.number("handlers", faults.handlers));
  STASIS_TRY(fields.number("window_pages", faults.window_pages));
  STASIS_TRY(
      fields.choice("zero_pages", {ZeroPages::kKernel, ZeroPages::kHandler}, faults.zero_pages));
  return fields.check_known();
}

Result<void> read_prefetch(Fields fields, PrefetchSpec& prefetch) {
  STASIS_TRY(fields.choice(
      "by", {PrefetchBy::kPopulate, PrefetchBy::kPageCache, PrefetchBy::kCopy, PrefetchBy::kMove},
      prefetch.by));
  STASIS_TRY(fields.choice(
      "order", {PrefetchOrder::kAddress, PrefetchOrder::kWritten, PrefetchOrder::kAccess},
      prefetch.order));
  STASIS_TRY(fields.choice(
      "when", {PrefetchWhen::kBeforeRun, PrefetchWhen::kConcurrent, PrefetchWhen::kWithRequest},
      prefetch.when));
  STASIS_TRY(
      fields.choice("read", {PayloadAccess::kBuffered, PayloadAccess::kDirect}, prefetch.read));
  STASIS_TRY(fields.number("threads", prefetch.threads));
  return fields.check_known();
}

Result<PolicySpec> read_spec(Fields fields, std::string_view origin) {
  const Json* const format = fields.find("format");
  if (format == nullptr || !format->is_number_integer() || *format != kFormat) {
    return Error{
        Errc::kCorruption, 0,
        std::string(origin) + ": field format must be 1: the form that this program reads"};
  }
  PolicySpec spec;
  STASIS_TRY(fields.text("name", spec.name));
  STASIS_TRY(fields.text("summary", spec.summary));
  STASIS_TRY(fields.text("after", spec.after));
  if (fields.find("memory") == nullptr) {
    return Error{Errc::kCorruption, 0,
                 std::string(origin) + ": field memory is missing: filled, mapped or missing"};
  }
  STASIS_TRY(fields.choice("memory", {Underlay::kFilled, Underlay::kMapped, Underlay::kMissing},
                           spec.memory));
  if (fields.find("read_ahead") != nullptr) {
    ReadAhead read_ahead = ReadAhead::kNormal;
    STASIS_TRY(fields.choice(
        "read_ahead",
        {ReadAhead::kNormal, ReadAhead::kRandom, ReadAhead::kSequential, ReadAhead::kWillNeed},
        read_ahead));
    spec.read_ahead = read_ahead;
  }
  if (const Json* const faults = fields.find("faults"); faults != nullptr) {
    STASIS_ASSIGN(Fields inner, fields.object("faults", *faults));
    STASIS_TRY(read_faults(std::move(inner), spec.faults));
  }
  if (const Json* const prefetch = fields.find("prefetch"); prefetch != nullptr) {
    STASIS_ASSIGN(Fields inner, fields.object("prefetch", *prefetch));
    STASIS_TRY(read_prefetch(std::move(inner), spec.prefetch.emplace()));
  }
  STASIS_TRY(fields.check_known());
  return spec;
}

// A callback, so that a text of a million brackets is refused and not recursed into.
Result<Json> parse_json(std::string_view text, std::string_view origin) {
  bool too_deep = false;
  try {
    Json json = Json::parse(text, [&](int depth, Json::parse_event_t, Json&) {
      too_deep = too_deep || depth > kNestingMax;
      return !too_deep;
    });
    if (!too_deep && json.is_object()) {
      return json;
    }
  } catch (const Json::exception& exception) {
    return Error{Errc::kCorruption, 0, std::string(origin) + ": " + exception.what()};
  }
  return Error{Errc::kCorruption, 0,
               std::string(origin) + ": must be one JSON object, nested at most 4 deep"};
}

}  // namespace

Result<PolicySpec> parse_policy(std::string_view text, std::string_view origin) {
  STASIS_ASSIGN(const Json json, parse_json(text, origin));
  STASIS_ASSIGN(PolicySpec spec, read_spec(Fields(json, origin, ""), origin));
  if (auto fine = check_spec(spec); !fine) {
    return std::move(fine).error().with_context(origin);
  }
  return spec;
}

Result<PolicySpec> read_policy_file(const std::string& path) {
  STASIS_ASSIGN(const auto file, posix_file_system().open_file(path));
  const std::string origin = "policy file '" + path + "'";
  if (file->size_bytes() > kPolicyFileBytesMax) {
    return Error{Errc::kCorruption, 0,
                 origin + ": " + std::to_string(file->size_bytes()) + " bytes are too many"};
  }
  std::string text(file->size_bytes(), '\0');
  STASIS_TRY(file->read_at(0, std::as_writable_bytes(std::span(text))));
  STASIS_ASSIGN(PolicySpec spec, parse_policy(text, origin));
  const auto named = named_policies();
  if (std::any_of(named.begin(), named.end(),
                  [&](const NamedPolicy& policy) { return policy.name == spec.name; })) {
    return Error{
        Errc::kInvalidArgument, 0,
        origin + ": '" + spec.name + "' is the name of a policy of this program; choose another"};
  }
  return spec;
}

Result<PolicySpec> find_policy(std::string_view name) {
  std::string names;
  for (const NamedPolicy& policy : named_policies()) {
    if (policy.name == name) {
      return parse_policy(policy.text, "policy '" + std::string(name) + "'");
    }
    names += (names.empty() ? "" : ", ") + std::string(policy.name);
  }
  return Error{Errc::kInvalidArgument, 0,
               "no restore policy is called '" + std::string(name) + "'; there are: " + names};
}

Result<PolicySpec> load_policy(const std::string& name) {
  return name.ends_with(".json") ? read_policy_file(name) : find_policy(name);
}

}  // namespace stasis::snapshot
