#include "cli/render.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "cli/quantity.h"
#include "cli/table.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

// The values of one milestone over all trials that recorded it.
std::vector<double> column(const std::vector<Trial>& trials, std::size_t milestone) {
  std::vector<double> values;
  for (const Trial& trial : trials) {
    if (trial.since_begin_ns.at(milestone)) {
      values.push_back(static_cast<double>(*trial.since_begin_ns.at(milestone)));
    }
  }
  return values;
}

std::string label(std::size_t milestone) {
  return std::string(name_of(static_cast<Milestone>(milestone)));
}

std::string duration(double ns) {
  return format_duration(std::llround(ns));
}

}  // namespace

Trial make_trial(const MilestoneLog& milestones, std::int64_t first_instruction_error_ns) {
  Trial trial;
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    trial.since_begin_ns.push_back(milestones.since_begin(static_cast<Milestone>(i)));
  }
  trial.first_instruction_error_ns = first_instruction_error_ns;
  return trial;
}

std::string milestone_table(const std::vector<Trial>& trials) {
  const bool many = trials.size() > 1;
  Table table = many ? Table({"milestone", "min", "median", "p90"},
                             {Align::kLeft, Align::kRight, Align::kRight, Align::kRight})
                     : Table({"milestone", "since begin", "step"},
                             {Align::kLeft, Align::kRight, Align::kRight});
  // In the order in which they happened, which differs between policies.
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    const std::vector<double> values = column(trials, i);
    if (!values.empty()) {
      order.emplace_back(quantile(values, 0.5), i);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  double previous = order.empty() ? 0 : order.front().first;
  for (const auto& [median, i] : order) {
    if (many) {
      const std::vector<double> values = column(trials, i);
      table.add_row({label(i), duration(*std::min_element(values.begin(), values.end())),
                     duration(median), duration(quantile(values, 0.9))});
    } else {
      table.add_row({label(i), duration(median), duration(median - previous)});
      previous = median;
    }
  }
  return table.render();
}

nlohmann::ordered_json to_json(const Trial& trial) {
  Json milestones = Json::object();
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    const auto& value = trial.since_begin_ns.at(i);
    milestones[label(i)] = value ? Json(*value) : Json(nullptr);
  }
  Json json = {{"milestones_ns", std::move(milestones)},
               {"first_instruction_error_ns", trial.first_instruction_error_ns},
               {"requests", to_json(trial.exchanges)},
               {"counters", to_json(trial.counters)}};
  if (trial.residency) {
    const session::ResidencyReport& residency = *trial.residency;
    json["residency"] = {
        {"samples", residency.samples},
        {"resident_bytes", residency.resident_pages * residency.page_bytes},
        {"resident_p90_error_ns", residency.error_ns ? Json(*residency.error_ns) : Json(nullptr)}};
  }
  return json;
}

nlohmann::ordered_json summary_json(const std::vector<Trial>& trials) {
  Json begin_to = Json::object();
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    const std::vector<double> values = column(trials, i);
    if (!values.empty()) {
      begin_to[label(i)] = {
          {"n", values.size()},
          {"min_ns", std::llround(*std::min_element(values.begin(), values.end()))},
          {"median_ns", std::llround(quantile(values, 0.5))},
          {"p90_ns", std::llround(quantile(values, 0.9))}};
    }
  }
  return {{"begin_to", std::move(begin_to)}};
}

namespace {

Json linux_json(const session::LinuxCounters& counters) {
  Json calls = Json::array();
  for (const linux_guest::SyscallCount& call : counters.calls) {
    calls.push_back({{"name", call.name},
                     {"number", call.number},
                     {"calls", call.calls},
                     {"errors", call.errors},
                     {"known", call.is_known}});
  }
  return {{"system_calls", counters.traps.system_calls},
          {"page_faults", counters.traps.page_faults},
          {"other_faults", counters.traps.other_faults},
          {"page_table_rewrites", counters.traps.rewrites},
          {"rewritten_entries", counters.traps.rewritten_entries},
          {"preemptions", counters.traps.preemptions},
          {"calls", std::move(calls)}};
}

}  // namespace

nlohmann::ordered_json to_json(const session::SessionCounters& counters) {
  Json json = {{"entries", counters.machine.entries},
               {"io_exits", counters.machine.io_exits},
               {"write_faults", counters.machine.write_faults},
               {"cancels", counters.machine.cancels},
               {"requests", counters.requests},
               {"minor_faults", counters.minor_faults},
               {"major_faults", counters.major_faults},
               {"filled_bytes", counters.filled_bytes},
               {"mappings", counters.mappings},
               {"populated_bytes", counters.populated_bytes},
               {"fetched_bytes", counters.fetched_bytes},
               {"user_cpu_ns", counters.user_cpu_ns},
               {"system_cpu_ns", counters.system_cpu_ns}};
  if (counters.linux_guest) {
    json["linux"] = linux_json(*counters.linux_guest);
  }
  return json;
}

std::string syscall_table(const session::LinuxCounters& counters) {
  Table table({"system call", "calls", "errors", ""},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft});
  for (const linux_guest::SyscallCount& call : counters.calls) {
    table.add_row({call.is_known ? std::string(call.name) : fmt::format("number {}", call.number),
                   fmt::format("{}", call.calls), fmt::format("{}", call.errors),
                   call.is_known ? "" : "not supported (ENOSYS)"});
  }
  return table.render();
}

nlohmann::ordered_json to_json(const session::SaveReport& report) {
  Json json = {{"id", snapshot::to_string(report.id)},
               {"memory_bytes", report.memory_bytes},
               {"dirty_bytes", report.dirty_bytes},
               {"zero_bytes", report.zero_bytes},
               {"written_bytes", report.written_bytes},
               {"paused_ns", report.paused_ns},
               {"write_ns", report.write_ns}};
  if (report.live) {
    const session::LiveSaveReport& live = *report.live;
    json["live"] = {{"mechanism", live.mechanism},
                    {"prepare_ns", live.pause.prepare_ns},
                    {"stop_ns", live.pause.stop_ns},
                    {"state_ns", live.pause.state_ns},
                    {"collect_ns", live.pause.collect_ns},
                    {"freeze_ns", live.pause.freeze_ns},
                    {"write_faults", live.counters.write_faults},
                    {"copied_bytes", live.counters.copied_bytes},
                    {"copied_peak_bytes", live.counters.copied_peak_bytes},
                    {"waits", live.counters.waits}};
  }
  return json;
}

nlohmann::ordered_json to_json(const session::DirtyReport& report, const std::string& tracker) {
  return {{"tracker", tracker},
          {"chosen", report.tracker},
          {"bytes", total_bytes(report.pages)},
          {"ranges", report.pages.size()},
          {"arm_ns", report.arm_ns},
          {"collect_ns", report.collect_ns}};
}

std::string describe(const session::DirtyReport& report, const std::string& tracker) {
  return fmt::format(
      "{} in {} ranges (tracker '{}'{}: armed in {}, collected in {})",
      format_bytes(total_bytes(report.pages)), report.pages.size(), tracker,
      tracker == snapshot::kAutoTracker ? fmt::format(", which is {}", report.tracker) : "",
      format_duration(report.arm_ns), format_duration(report.collect_ns));
}

nlohmann::ordered_json to_json(const Availability& availability) {
  Json json = {{"name", availability.name}, {"available", availability.available}};
  if (!availability.available) {
    json["reason"] = availability.reason;
    json["cure"] = availability.cure;
  }
  return json;
}

std::string describe(const std::string& path, const session::SaveReport& report) {
  if (report.live) {
    return fmt::format(
        "saved '{}': {} of memory, {} written in {} while the guest ran; it was paused for {} "
        "(live by {}, {} kept aside)\n",
        path, format_bytes(report.memory_bytes), format_bytes(report.written_bytes),
        format_duration(report.write_ns), format_duration(report.paused_ns), report.live->mechanism,
        format_bytes(report.live->counters.copied_bytes));
  }
  return fmt::format("saved '{}': {} of memory, {} written in {}; the guest was paused for {}\n",
                     path, format_bytes(report.memory_bytes), format_bytes(report.written_bytes),
                     format_duration(report.write_ns), format_duration(report.paused_ns));
}

double quantile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const double position = p * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(std::floor(position));
  const std::size_t high = std::min(low + 1, values.size() - 1);
  const double part = position - std::floor(position);
  return values.at(low) + part * (values.at(high) - values.at(low));
}

}  // namespace stasis::cli
