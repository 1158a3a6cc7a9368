// stasis bench-reset: one restore, then requests with a reset after each, measured beside its
// floor.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "cli/requests.h"
#include "cli/table.h"
#include "core/clock.h"
#include "experiments/floor/page_copies.h"
#include "session/session.h"

namespace stasis::cli {

namespace {

using Json = nlohmann::ordered_json;

struct BenchResetOptions {
  std::string snapshot;
  session::RestoreOptions restore;
  std::string backend = "auto";
  std::vector<std::string> requests;
  std::uint32_t repeat = 20;
  bool any_answer = false;
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);
};

// One reset as its caller sees it. Value.
struct ResetTrial {
  snapshot::ResetReport report;
  std::int64_t pause_ns = 0;
  std::int64_t total_ns = 0;  // With the pause.
};

// What no reset of the same pages can do without. Value.
struct Floor {
  std::int64_t collect_ns = 0;  // The tracker alone.
  std::int64_t memcpy_ns = 0;
};

struct BenchResetResult {
  std::size_t response_bytes = 0;
  std::optional<ResetTrial> first;  // Reads what later ones find held.
  std::vector<ResetTrial> trials;
  std::vector<Floor> floors;
  std::optional<std::uint32_t> differs_at;  // The number of the first answer that is another one.
};

class Bench {
 public:
  Bench(const BenchResetOptions& options, std::vector<Request> requests, Context& context)
      : options_(options), requests_(std::move(requests)), context_(context) {}

  Result<void> run(HypervisorBackend& backend, BenchResetResult& result) {
    STASIS_TRY(restore(backend));
    STASIS_ASSIGN(experiments::PageCopies copies,
                  experiments::PageCopies::create(session_->machine().memory().ranges()));
    STASIS_TRY(ask(result));
    STASIS_ASSIGN(result.first, reset());
    Progress progress("resetting", context_.progress_mode());
    // What is measured and its floor take turns, so that both meet the same host.
    for (std::uint32_t i = 0; i < options_.repeat && !interrupted(); ++i) {
      STASIS_TRY(ask(result));
      STASIS_ASSIGN(const ResetTrial trial, reset());
      STASIS_TRY(ask(result));
      STASIS_ASSIGN(const Floor floor, measure_floor(copies));
      if (result.differs_at) {
        return {};
      }
      result.trials.push_back(trial);
      result.floors.push_back(floor);
      progress.tick();
    }
    return {};
  }

 private:
  Result<void> restore(HypervisorBackend& backend) {
    Progress progress(fmt::format("restoring '{}'", options_.snapshot), context_.progress_mode());
    session::RestoreOptions wanted = options_.restore;
    wanted.progress = [&progress](std::uint64_t done, std::uint64_t total) {
      progress.update(done, total);
    };
    wanted.cancel = &interrupt_flag();
    wanted.warn = [this](const std::string& message) { context_.output.warn(printable(message)); };
    STASIS_ASSIGN(session_, session::Session::restore(backend, options_.snapshot, wanted));
    return {};
  }

  Result<void> ask(BenchResetResult& result) {
    STASIS_ASSIGN(std::vector<Exchange> exchanges,
                  exchange(*session_, requests_, options_.timeout, context_));
    std::vector<std::byte>& bytes = exchanges.front().response.bytes;
    ++asked_;
    if (asked_ == 1) {
      first_ = std::move(bytes);
      result.response_bytes = first_.size();
    } else if (!options_.any_answer && bytes != first_ && !result.differs_at) {
      result.differs_at = asked_;
    }
    return {};
  }

  Result<ResetTrial> reset() {
    ResetTrial trial;
    const MonotonicNs begin = host_clock().now();
    STASIS_TRY(session_->pause(options_.timeout));
    trial.pause_ns = host_clock().now() - begin;
    STASIS_ASSIGN(trial.report, session_->reset());
    trial.total_ns = host_clock().now() - begin;
    return trial;
  }

  Result<Floor> measure_floor(experiments::PageCopies& copies) {
    STASIS_TRY(session_->pause(options_.timeout));
    STASIS_ASSIGN(const session::DirtyReport dirty, session_->dirty());
    const Floor floor{.collect_ns = dirty.collect_ns, .memcpy_ns = copies.copy_ns(dirty.pages)};
    STASIS_TRY(session_->reset());
    return floor;
  }

  const BenchResetOptions& options_;
  const std::vector<Request> requests_;
  Context& context_;
  std::unique_ptr<session::Session> session_;
  std::vector<std::byte> first_;
  std::uint32_t asked_ = 0;
};

// A column of the result.
struct Column {
  const char* key;
  const char* title;
  std::int64_t (*of)(const ResetTrial&);
};
constexpr std::array<Column, 6> kColumns = {{
    {"pause", "pause", [](const ResetTrial& t) { return t.pause_ns; }},
    {"state", "state of vCPUs and devices", [](const ResetTrial& t) { return t.report.state_ns; }},
    {"collect", "collect", [](const ResetTrial& t) { return t.report.collect_ns; }},
    {"read", "read from the snapshot", [](const ResetTrial& t) { return t.report.read_ns; }},
    {"copy", "copy", [](const ResetTrial& t) { return t.report.copy_ns; }},
    {"total", "total", [](const ResetTrial& t) { return t.total_ns; }},
}};

template <typename Item, typename Of>
std::vector<double> values_of(const std::vector<Item>& items, Of of) {
  std::vector<double> values;
  values.reserve(items.size());
  for (const Item& item : items) {
    values.push_back(static_cast<double>(of(item)));
  }
  return values;
}

struct Ratios {
  double memory = 0;  // Collecting and copying by their floors.
  double total = 0;   // All of a reset by the same.
};

// Of medians. Nothing without trials, or below the clock's resolution.
std::optional<Ratios> ratios_of(const BenchResetResult& result) {
  if (result.trials.empty()) {
    return std::nullopt;
  }
  const double floor = quantile(
      values_of(result.floors, [](const Floor& f) { return f.collect_ns + f.memcpy_ns; }), 0.5);
  if (floor <= 0) {
    return std::nullopt;
  }
  const double memory =
      quantile(values_of(result.trials,
                         [](const ResetTrial& t) {
                           return t.report.collect_ns + t.report.read_ns + t.report.copy_ns;
                         }),
               0.5);
  const double total =
      quantile(values_of(result.trials, [](const ResetTrial& t) { return t.total_ns; }), 0.5);
  return Ratios{.memory = memory / floor, .total = total / floor};
}

Json to_json(const ResetTrial& trial) {
  Json json = {{"dirty_bytes", trial.report.dirty_bytes},
               {"copied_bytes", trial.report.copied_bytes},
               {"zeroed_bytes", trial.report.zeroed_bytes},
               {"read_bytes", trial.report.read_bytes}};
  for (const Column& column : kColumns) {
    json[fmt::format("{}_ns", column.key)] = column.of(trial);
  }
  return json;
}

Json spread_json(const std::vector<double>& values) {
  return {{"n", values.size()},
          {"median_ns", std::llround(quantile(values, 0.5))},
          {"p99_ns", std::llround(quantile(values, 0.99))}};
}

void report_json(const BenchResetOptions& options, std::string_view backend,
                 const BenchResetResult& result, Output& output) {
  Json& json = output.json();
  json["snapshot"] = options.snapshot;
  json["backend"] = backend;
  json["policy"] = options.restore.policy;
  json["tracker"] = options.restore.tracker;
  json["response_bytes"] = result.response_bytes;
  json["equal"] = options.any_answer ? Json(nullptr) : Json(!result.differs_at);
  if (result.differs_at) {
    json["differs_at"] = *result.differs_at;
  }
  json["first"] = result.first ? to_json(*result.first) : Json(nullptr);
  json["resets"] = Json::array();
  for (const ResetTrial& trial : result.trials) {
    json["resets"].push_back(to_json(trial));
  }
  if (result.trials.empty()) {
    return;
  }
  for (const Column& column : kColumns) {
    json["summary"][column.key] = spread_json(values_of(result.trials, column.of));
  }
  json["floor"]["collect"] =
      spread_json(values_of(result.floors, [](const Floor& f) { return f.collect_ns; }));
  json["floor"]["memcpy"] =
      spread_json(values_of(result.floors, [](const Floor& f) { return f.memcpy_ns; }));
  if (const std::optional<Ratios> ratios = ratios_of(result)) {
    json["ratio"] = {{"memory", ratios->memory}, {"total", ratios->total}};
  }
}

std::string time_of(const std::vector<double>& values, double p) {
  return format_duration(std::llround(quantile(values, p)));
}

void report_text(const BenchResetOptions& options, const BenchResetResult& result, Output& output) {
  if (result.differs_at) {
    output.text(
        fmt::format("{}: answer {} is not the first one: the guest depends on more than its "
                    "memory and its request, or was not reset\n",
                    output.styled("different", Style::kRed), *result.differs_at));
    return;
  }
  if (result.trials.empty()) {
    return;
  }
  const ResetTrial& last = result.trials.back();
  output.text(fmt::format(
      "{} resets, tracker '{}': {} dirty each at the median, {} answers {}\n", result.trials.size(),
      options.restore.tracker,
      format_bytes(static_cast<std::uint64_t>(quantile(
          values_of(result.trials, [](const ResetTrial& t) { return t.report.dirty_bytes; }),
          0.5))),
      2 * result.trials.size() + 1,
      options.any_answer ? "not compared" : output.styled("equal", Style::kGreen)));
  output.text(fmt::format("the first one read {} of the snapshot and took {}; the last read {}\n",
                          format_bytes(result.first->report.read_bytes),
                          format_duration(result.first->total_ns),
                          format_bytes(last.report.read_bytes)));
  Table table({"", "median", "p99"}, {Align::kLeft, Align::kRight, Align::kRight});
  const auto add = [&table](const std::string& title, const std::vector<double>& values) {
    table.add_row({title, time_of(values, 0.5), time_of(values, 0.99)});
  };
  for (const Column& column : kColumns) {
    add(column.title, values_of(result.trials, column.of));
  }
  add("floor: collect alone",
      values_of(result.floors, [](const Floor& f) { return f.collect_ns; }));
  add("floor: memcpy of as many pages",
      values_of(result.floors, [](const Floor& f) { return f.memcpy_ns; }));
  output.text(table.render());
  if (const std::optional<Ratios> ratios = ratios_of(result)) {
    output.text(fmt::format("memory takes {:.2f} times the floor, all of a reset {:.2f} times\n",
                            ratios->memory, ratios->total));
  }
}

Result<ExitCode> bench_reset(BenchResetOptions options, Context& context) {
  if (options.requests.empty()) {
    options.requests.emplace_back();
  }
  if (options.requests.size() > 1) {
    return Error{Errc::kInvalidArgument, 0,
                 "--request: one is asked again and again, so one is enough"};
  }
  if (options.restore.tracker.empty()) {
    options.restore.tracker = "auto";
  }
  STASIS_ASSIGN(std::vector<Request> requests, read_requests(options.requests));
  STASIS_ASSIGN(const std::unique_ptr<HypervisorBackend> backend,
                session::make_backend(options.backend, context.backends));
  BenchResetResult result;
  Result<void> outcome = Bench(options, std::move(requests), context).run(*backend, result);
  report_json(options, backend->name(), result, context.output);
  if (!outcome) {
    return std::move(outcome).error();
  }
  if (!interrupted()) {
    report_text(options, result, context.output);
  }
  return result.differs_at ? ExitCode::kNegative : ExitCode::kOk;
}

}  // namespace

CommandFunction add_bench_reset(CommandOptions& app) {
  auto options = std::make_shared<BenchResetOptions>();
  app.add_option("SNAPSHOT", options->snapshot, "Directory of a snapshot of a bare guest")
      .required()
      .type_name("");
  app.add_option("--backend", options->backend, "kvm, hvf, hvf-sim, mock, or auto [auto]")
      .type_name("NAME");
  app.add_option("--policy", options->restore.policy, "How memory comes back once, at first [lazy]")
      .type_name("NAME");
  add_tracker_options(app, options->restore.tracker, options->restore.tracker_options,
                      "What finds the pages to put back");
  add_requests(app, options->requests);
  add_count(app, "--repeat", options->repeat, 1000000, "Measure so many resets");
  app.add_flag("--any-answer", options->any_answer,
               "Answers may differ: of a guest that tells the time in them");
  add_duration(app, "--timeout", options->timeout, "Longest wait for the guest, each time");
  app.footer(
      "Restores SNAPSHOT once; then asks it the request (an empty one without --request) and puts\n"
      "it back in place, again and again. Exits with 1 if an answer is not the first one. The\n"
      "floor, collecting alone and a memcpy of the same pages, is measured in between.\n\n"
      "Examples:\n"
      "  $ stasis bench-reset warm\n"
      "  $ stasis bench-reset warm --tracker dirty-log --repeat 50 --json\n");
  return [options](Context& context) { return bench_reset(*options, context); };
}

}  // namespace stasis::cli
