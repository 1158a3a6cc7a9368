// The only file of session/ that reads and writes JSON.
#include "session/calibration_file.h"

#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "core/clock.h"
#include "session/build_info.h"

namespace stasis::session {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{64} << 10U;

struct Field {
  const char* name;
  double snapshot::CostModel::*value;
};
constexpr std::array<Field, 6> kFields{
    {{"arm_ns", &snapshot::CostModel::arm_ns},
     {"arm_page_ns", &snapshot::CostModel::arm_page_ns},
     {"first_write_ns", &snapshot::CostModel::first_write_ns},
     {"collect_ns", &snapshot::CostModel::collect_ns},
     {"collect_page_ns", &snapshot::CostModel::collect_page_ns},
     {"collect_dirty_ns", &snapshot::CostModel::collect_dirty_ns}}};

Error damaged(const std::string& path, const std::string& why) {
  return Error{Errc::kCorruption, 0,
               "'" + path + "': " + why + "; `stasis doctor --calibrate` makes it anew"};
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (const std::size_t colon = line.find(": ");
        line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

Result<std::string> read_text(const std::string& path) {
  std::error_code status;
  const std::uintmax_t size = fs::file_size(path, status);
  if (status == std::errc::no_such_file_or_directory) {
    return Error{Errc::kNotFound, 0, "'" + path + "' does not exist"};
  }
  if (status) {
    return Error{Errc::kIo, status.value(), "'" + path + "': " + status.message()};
  }
  if (size > kFileBytesMax) {
    return damaged(path, std::to_string(size) + " bytes are more than it can have");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    return Error{Errc::kIo, 0, "'" + path + "' cannot be read"};
  }
  return text;
}

Result<snapshot::CostModel> read_model(const std::string& path, const std::string& tracker,
                                       const Json& json) {
  snapshot::CostModel model;
  for (const Field& field : kFields) {
    const auto found = json.find(field.name);
    if (!json.is_object() || found == json.end() || !found->is_number()) {
      return damaged(path, "field trackers." + tracker + "." + field.name + " must be a number");
    }
    model.*field.value = found->get<double>();
  }
  if (!snapshot::is_plausible(model)) {
    return damaged(path, "field trackers." + tracker + " has a figure that cannot be");
  }
  return model;
}

Result<void> check_facts(const std::string& path, const Json& host, const CalibrationFacts& facts) {
  for (const auto& [name, value] : facts) {
    const auto found = host.find(name);
    if (found == host.end() || !found->is_string()) {
      return damaged(path, "field host." + name + " must be a text");
    }
    if (const auto was = found->get<std::string>(); was != value) {
      std::string message = "'" + path + "' was measured with ";
      message.append(name).append(" '").append(was, 0, 80).append("', and now it is '");
      message.append(value).append("'; `stasis doctor --calibrate` measures anew");
      return Error{Errc::kMismatch, 0, std::move(message)};
    }
  }
  return {};
}

}  // namespace

CalibrationFacts calibration_facts(const Capabilities& capabilities) {
  struct utsname names = {};
  ::uname(&names);
  return {{"system", names.sysname},
          {"release", names.release},
          {"machine", names.machine},
          {"processor", processor()},
          {"cpus", std::to_string(::sysconf(_SC_NPROCESSORS_ONLN))},
          {"version", std::string(version())},
          {"build", std::string(build_type())},
          {"backend", std::string(name_of(capabilities.kind))}};
}

std::string calibration_path(const Capabilities& capabilities) {
  const auto absolute = [](const char* name) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): never set here.
    return value != nullptr && *value == '/' ? std::string(value) : std::string();
  };
  std::string directory = absolute("XDG_CACHE_HOME");
  if (directory.empty()) {
    const std::string home = absolute("HOME");
    directory = home.empty() ? home : home + "/.cache";
  }
  return directory.empty()
             ? directory
             : directory + "/stasis/trackers-" + std::string(name_of(capabilities.kind)) + ".json";
}

Result<void> write_calibration(const std::string& path, const snapshot::CostTable& costs,
                               const CalibrationFacts& facts) {
  Json json = {{"format", kCalibrationFormat}, {"measured_ns", host_clock().wall_ns()}};
  for (const auto& [name, value] : facts) {
    json["host"][name] = value;
  }
  json["trackers"] = Json::object();
  for (const auto& [name, model] : costs.trackers) {
    for (const Field& field : kFields) {
      json["trackers"][name][field.name] = model.*field.value;
    }
  }
  std::error_code status;
  fs::create_directories(fs::path(path).parent_path(), status);
  const std::string temporary = path + "." + std::to_string(::getpid());
  if (!status) {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << json.dump(2) << '\n';
    file.close();
    if (!file) {
      status = std::make_error_code(std::errc::io_error);
    } else {
      fs::rename(temporary, path, status);
    }
  }
  if (status) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    return Error{Errc::kIo, status.value(),
                 "the calibration cannot be written to '" + path + "': " + status.message() +
                     "; set XDG_CACHE_HOME to a directory that can be written to"};
  }
  return {};
}

Result<snapshot::CostTable> read_calibration(const std::string& path,
                                             const CalibrationFacts& facts) {
  STASIS_ASSIGN(const std::string text, read_text(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return damaged(path, "it is not a JSON object");
  }
  const auto format = json.find("format");
  if (format == json.end() || !format->is_number_integer() || *format != kCalibrationFormat) {
    return damaged(path, "field format is not " + std::to_string(kCalibrationFormat) +
                             ", the form that this program reads");
  }
  const auto host = json.find("host");
  const auto trackers = json.find("trackers");
  if (host == json.end() || !host->is_object() || trackers == json.end() ||
      !trackers->is_object()) {
    return damaged(path, "fields host and trackers must be objects");
  }
  STASIS_TRY(check_facts(path, *host, facts));
  snapshot::CostTable costs{.source = "calibrated on this host ('" + path + "')"};
  const Json& models = *trackers;
  for (const auto& item : models.items()) {
    const std::string name = item.key().substr(0, 40);
    STASIS_ASSIGN(const snapshot::CostModel model, read_model(path, name, item.value()));
    costs.trackers.emplace_back(name, model);
  }
  return costs;
}

KnownCosts known_costs(const Capabilities& capabilities) {
  const std::string path = calibration_path(capabilities);
  KnownCosts known{.costs = snapshot::builtin_costs()};
  if (path.empty()) {
    known.not_calibrated_because = "neither XDG_CACHE_HOME nor HOME is an absolute path";
  } else if (auto costs = read_calibration(path, calibration_facts(capabilities)); costs) {
    known.costs = *std::move(costs);
    return known;
  } else {
    known.not_calibrated_because = costs.error().message;
  }
  known.costs.source += " (" + known.not_calibrated_because + ")";
  return known;
}

}  // namespace stasis::session
