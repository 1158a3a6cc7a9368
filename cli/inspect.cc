// stasis inspect: what a snapshot says about itself, also when it cannot be restored.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "cli/command.h"
#include "cli/quantity.h"
#include "cli/table.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/operations.h"
#include "snapshot/snapshot_chain.h"
#include "snapshot/working_set.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;
using snapshot::Inspection;

struct InspectOptions {
  std::string path;
  bool registers = false;
};

void add_header(const snapshot::SnapshotHeader& header, const std::string& path, Table& table,
                Json& json) {
  json["path"] = path;
  json["id"] = to_string(header.id);
  json["format_version"] = header.format_version;
  json["creator"] = header.creator;
  json["created_ns"] = header.created_ns;
  json["content_root"] = to_string(header.root);
  json["parent_id"] = header.parent ? Json(to_string(*header.parent)) : Json(nullptr);
  table.add_row({"snapshot", fmt::format("{} ({})", printable(path), to_string(header.id))});
  table.add_row({"created", fmt::format("{} by {}", format_time(header.created_ns),
                                        printable(header.creator))});
  table.add_row({"format", fmt::format("version {}", header.format_version)});
  if (header.parent) {
    table.add_row({"parent", to_string(*header.parent)});
  }
}

void add_manifest(const snapshot::Manifest& manifest, Table& table, Json& json) {
  json["architecture"] = name_of(manifest.architecture);
  json["backend"] = name_of(manifest.backend);
  json["clock_policy"] = name_of(manifest.clock_policy);
  json["layout"] = name_of(manifest.layout);
  json["codec"] = name_of(manifest.codec);
  json["page_size_bytes"] = manifest.page_size_bytes;
  json["chunk_bytes"] = manifest.chunk_bytes;
  json["vcpus"] = manifest.machine.vcpus.size();
  json["cpu_features"] = manifest.cpu_features;
  json["parent_path"] = manifest.parent ? Json(manifest.parent->path) : Json(nullptr);
  json["labels"] = Json::object();
  for (const snapshot::Label& label : manifest.labels) {
    json["labels"][label.key] = label.value;
    table.add_row({printable(label.key), printable(label.value)});
  }
  table.add_row(
      {"machine",
       fmt::format("{} on {}, {} vCPU{}, clock: {}", name_of(manifest.architecture),
                   name_of(manifest.backend), manifest.machine.vcpus.size(),
                   manifest.machine.vcpus.size() == 1 ? "" : "s", name_of(manifest.clock_policy))});
  table.add_row(
      {"layout", fmt::format("{}, codec {}, {} chunks, {} pages", name_of(manifest.layout),
                             name_of(manifest.codec), format_bytes(manifest.chunk_bytes),
                             format_bytes(manifest.page_size_bytes))});
  json["regions"] = Json::array();
  for (const snapshot::ManifestRegion& region : manifest.regions) {
    json["regions"].push_back({{"begin", region.range.begin.value},
                               {"bytes", region.range.size},
                               {"backing", name_of(region.backing)},
                               {"huge_pages", name_of(region.huge_pages)}});
    table.add_row({"memory", fmt::format("{} at {:#x} ({}, huge pages: {})",
                                         format_bytes(region.range.size), region.range.begin.value,
                                         name_of(region.backing), name_of(region.huge_pages))});
  }
  if (manifest.parent) {
    table.add_row({"parent path", printable(manifest.parent->path)});
  }
  json["devices"] = Json::array();
  for (const DeviceState& device : manifest.machine.devices) {
    json["devices"].push_back(
        {{"name", device.name}, {"version", device.version}, {"bytes", device.bytes.size()}});
    table.add_row({"device", fmt::format("{}, state version {}, {}", printable(device.name),
                                         device.version, format_bytes(device.bytes.size()))});
  }
  if (!manifest.cpu_features.empty()) {
    table.add_row({"CPU features", fmt::format("{}", fmt::join(manifest.cpu_features, " "))});
  }
}

// What lies beside the snapshot and is no part of it.
void add_working_set(const snapshot::SnapshotReader& reader, Table& table, Json& json) {
  const auto set = snapshot::read_working_set(snapshot::posix_file_system(), reader);
  if (!set) {
    json["working_set"] = {{"unusable_because", set.error().message}};
    table.add_row({"working set", "not used: " + printable(set.error().message)});
    return;
  }
  if (!*set) {
    json["working_set"] = nullptr;
    return;
  }
  std::uint64_t written_bytes = 0;
  std::uint64_t read_bytes = 0;
  for (const PopulatePiece& piece : (*set)->pieces) {
    (piece.access == PopulateFor::kWriting ? written_bytes : read_bytes) += piece.range.size;
  }
  json["working_set"] = {{"written_bytes", written_bytes},
                         {"read_bytes", read_bytes},
                         {"runs", (*set)->pieces.size()},
                         {"created_ns", (*set)->created_ns}};
  table.add_row(
      {"working set", fmt::format("{} written, {} read, recorded {}", format_bytes(written_bytes),
                                  format_bytes(read_bytes), format_time((*set)->created_ns))});
}

std::string_view activity_name(VcpuActivity activity) {
  switch (activity) {
    case VcpuActivity::kRunning:
      return "running";
    case VcpuActivity::kParked:
      return "parked";
    case VcpuActivity::kHalted:
      return "halted";
  }
  return "unknown";
}

// The registers that say at a glance where a vCPU is.
bool is_telling(std::string_view name) {
  return name == "general.rip" || name == "general.rsp" || name == "system.cr3" || name == "pc" ||
         name == "sp" || name == "tsc" || name == "instructions";
}

void add_vcpus(const MachineState& machine, bool all_registers, Table& table, Json& json) {
  json["vcpu_states"] = Json::array();
  for (std::size_t i = 0; i < machine.vcpus.size(); ++i) {
    const std::string_view activity = activity_name(machine.activities.at(i));
    Json registers = Json::object();
    std::string telling;
    for (const snapshot::NamedValue& value : snapshot::named_values(machine.vcpus[i])) {
      if (is_telling(value.name)) {
        telling += fmt::format(", {} {}", value.name, value.value);
      }
      if (all_registers || is_telling(value.name)) {
        registers[value.name] = value.value;
      }
    }
    json["vcpu_states"].push_back(
        {{"index", i}, {"activity", activity}, {"registers", std::move(registers)}});
    table.add_row({fmt::format("vCPU {}", i), fmt::format("{}{}", activity, telling)});
  }
}

Json kinds_json(const std::vector<Inspection::Kind>& kinds) {
  Json list = Json::array();
  for (const Inspection::Kind& kind : kinds) {
    list.push_back(
        {{"kind", name_of(kind.kind)}, {"extents", kind.extents}, {"bytes", kind.bytes}});
  }
  return list;
}

void add_inspection(const Inspection& inspection, Output& output) {
  Json& json = output.json();
  json["memory_bytes"] = inspection.memory_bytes;
  json["raw_bytes"] = inspection.raw_bytes;
  json["stored_bytes"] = inspection.stored_bytes;
  json["compression_ratio"] = inspection.compression_ratio;
  json["file_bytes"] = {{"manifest", inspection.manifest_bytes},
                        {"index", inspection.index_bytes},
                        {"memory", inspection.payload_bytes}};
  json["extents"] = kinds_json(inspection.kinds);
  json["resolved_extents"] = kinds_json(inspection.resolved);
  json["chain"] = Json::array();

  output.text(fmt::format("\n{} of memory, {} stored (ratio {:.2f}); manifest {}, index {}\n\n",
                          format_bytes(inspection.memory_bytes),
                          format_bytes(inspection.stored_bytes), inspection.compression_ratio,
                          format_bytes(inspection.manifest_bytes),
                          format_bytes(inspection.index_bytes)));
  Table kinds({"extents", "count", "bytes", "of the chain"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight});
  for (std::size_t i = 0; i < inspection.kinds.size(); ++i) {
    const Inspection::Kind& own = inspection.kinds[i];
    kinds.add_row(
        {std::string(name_of(own.kind)), fmt::format("{}", own.extents), format_bytes(own.bytes),
         i < inspection.resolved.size() ? format_bytes(inspection.resolved[i].bytes) : ""});
  }
  output.text(kinds.render());
  Table chain({"depth", "bytes used", "id", "snapshot"}, {Align::kRight, Align::kRight});
  for (std::size_t i = 0; i < inspection.ancestors.size(); ++i) {
    const Inspection::Ancestor& ancestor = inspection.ancestors[i];
    json["chain"].push_back({{"depth", i},
                             {"path", ancestor.path},
                             {"id", to_string(ancestor.id)},
                             {"resolved_bytes", ancestor.resolved_bytes}});
    chain.add_row({fmt::format("{}", i), format_bytes(ancestor.resolved_bytes),
                   to_string(ancestor.id), printable(ancestor.path)});
  }
  output.text("\n" + chain.render());
}

Result<ExitCode> inspect(const InspectOptions& options, Context& context) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  Output& output = context.output;
  Table table({});
  STASIS_ASSIGN(const snapshot::SnapshotHeader header, snapshot::read_header(files, options.path));
  add_header(header, options.path, table, output.json());
  auto reader = snapshot::SnapshotReader::open(files, options.path);
  output.json()["readable"] = reader.has_value();
  if (!reader) {
    output.text(table.render());
    // A version from the future is no fault of the snapshot's: its header has been shown.
    if (reader.error().code == Errc::kNotSupported) {
      output.json()["unreadable_because"] = reader.error().message;
      output.text(
          fmt::format("\nOnly the header can be read: {}\n", printable(reader.error().message)));
      return ExitCode::kOk;
    }
    return std::move(reader).error();
  }
  const snapshot::Manifest& manifest = (*reader)->manifest();
  add_manifest(manifest, table, output.json());
  add_vcpus(manifest.machine, options.registers, table, output.json());
  add_working_set(**reader, table, output.json());
  output.text(table.render());
  if (options.registers) {
    for (std::size_t i = 0; i < manifest.machine.vcpus.size(); ++i) {
      Table registers({fmt::format("vCPU {}", i), ""});
      for (snapshot::NamedValue& value : snapshot::named_values(manifest.machine.vcpus[i])) {
        registers.add_row({std::move(value.name), std::move(value.value)});
      }
      output.text("\n" + registers.render());
    }
  }
  const auto chain = snapshot::SnapshotChain::open(files, options.path);
  if (!chain) {
    output.json()["chain_error"] = {{"code", json_code(chain.error().code)},
                                    {"message", chain.error().message}};
    output.text(
        fmt::format("\nThe snapshot cannot be restored: {}\n", printable(chain.error().message)));
    return ExitCode::kOk;
  }
  STASIS_ASSIGN(const Inspection inspection, snapshot::inspect(**chain));
  add_inspection(inspection, output);
  return ExitCode::kOk;
}

}  // namespace

CommandFunction add_inspect(CommandOptions& app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("SNAPSHOT", options->path, "Directory of a snapshot").required().type_name("");
  app.add_flag("--registers", options->registers, "Show every register of every vCPU");
  app.footer(
      "Reads the manifest only: `stasis verify` checks the memory.\n\n"
      "Examples:\n"
      "  $ stasis inspect warm\n"
      "  $ stasis inspect warm --registers --json\n");
  return [options](Context& context) { return inspect(*options, context); };
}

}  // namespace stasis::cli
