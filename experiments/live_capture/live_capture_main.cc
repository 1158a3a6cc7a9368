// stasis-live-capture: how long a save keeps a guest from running, as the guest sees it. README.md
// says what is compared with what.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/noise.h"
#include "experiments/harness/row.h"
#include "experiments/harness/scratch.h"
#include "experiments/live_capture/probe.h"
#include "experiments/stats/bootstrap.h"
#include "experiments/stats/descriptive.h"
#include "session/backends.h"

namespace stasis::experiments {
namespace {

// Value.
struct Arguments {
  ProbeOptions probe;
  std::uint32_t trials = 10;
  std::uint32_t percent = 10;
  std::string rows = "live_capture.jsonl";
};

constexpr std::string_view kUsage =
    "usage: stasis-live-capture [--memory-mib N] [--trials N] [--mechanism NAME] [--tracker NAME]\n"
    "         [--write-mib N] [--pace-ns N] [--dirty-percent N] [--huge-pages never|transparent]\n"
    "         [--directory DIR] [--rows FILE]\n"
    "Measures the pause of a live save, of arming alone, and of still saves, as the guest sees "
    "it.\n"
    "Snapshots go to a directory in DIR [.], which is removed; rows to FILE "
    "[live_capture.jsonl].\n";

Error misused(const std::string& message) {
  return Error{Errc::kInvalidArgument, 0, message};
}

template <typename Number>
Result<void> parse_number(const std::string& name, std::string_view text, Number& target) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), target);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return misused(name + ": '" + std::string(text) + "' is not a whole number");
  }
  return {};
}

Result<void> take(Arguments& arguments, const std::string& name, const std::string& value) {
  ProbeOptions& probe = arguments.probe;
  if (name == "--memory-mib") {
    std::uint64_t mib = 0;
    STASIS_TRY(parse_number(name, value, mib));
    probe.memory_bytes = mib << 20U;
    return {};
  }
  if (name == "--trials") {
    return parse_number(name, value, arguments.trials);
  }
  if (name == "--write-mib") {
    return parse_number(name, value, probe.write_mib);
  }
  if (name == "--pace-ns") {
    return parse_number(name, value, probe.pace_ns);
  }
  if (name == "--dirty-percent") {
    return parse_number(name, value, arguments.percent);
  }
  if (name == "--huge-pages" && (value == "never" || value == "transparent")) {
    probe.huge_pages = value == "never" ? HugePages::kNever : HugePages::kTransparent;
    return {};
  }
  const std::map<std::string, std::string*> texts{{"--mechanism", &probe.mechanism},
                                                  {"--tracker", &probe.tracker},
                                                  {"--directory", &probe.directory},
                                                  {"--rows", &arguments.rows}};
  const auto found = texts.find(name);
  if (found == texts.end()) {
    return misused("unknown option or value: " + name + " " + value);
  }
  *found->second = value;
  return {};
}

Result<Arguments> parse(const std::vector<std::string>& words) {
  Arguments arguments;
  arguments.probe.directory = ".";
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size()) {
      return misused(words[i] + " needs a value");
    }
    STASIS_TRY(take(arguments, words[i], words[i + 1]));
  }
  if (arguments.trials == 0 || arguments.percent == 0 || arguments.percent > 90) {
    return misused("--trials must be at least 1, --dirty-percent 1 to 90");
  }
  return arguments;
}

// Runs the cells and keeps their rows.
class Driver {
 public:
  Driver(Arguments arguments, HypervisorBackend& backend, std::FILE* file)
      : arguments_(std::move(arguments)),
        backend_(backend),
        file_(file),
        facts_(collect_host_facts(arguments_.probe.directory)) {}

  // Two guests in turn, because the tracker of the one would slow the other: blocks of all cells,
  // so that drift of the host meets all of them.
  Result<void> run() {
    for (std::uint32_t done = 0; done < arguments_.trials; done += kBlockTrials) {
      const std::uint32_t count = std::min(kBlockTrials, arguments_.trials - done);
      STASIS_TRY(run_block(done / kBlockTrials, count));
    }
    return {};
  }

  void summarize() const {
    fmt::print("{:<14} {:>3} {:>26} {:>14} {:>14} {:>8}\n", "cell", "n", "guest's longest gap, ms",
               "(95 % interval)", "host's pause", "tainted");
    for (const auto& [cell, gaps] : gaps_) {
      const Interval median = bootstrap_median(gaps);
      const auto pauses = pauses_.find(cell);
      fmt::print("{:<14} {:>3} {:>26.3f} {:>14} {:>14} {:>8}\n", cell, gaps.size(),
                 median.estimate / 1e6,
                 fmt::format("{:.2f}-{:.2f}", median.low / 1e6, median.high / 1e6),
                 pauses == pauses_.end()
                     ? "-"
                     : fmt::format("{:.3f} ms", experiments::median(pauses->second) / 1e6),
                 tainted_.contains(cell) ? tainted_.at(cell) : 0U);
    }
    compare();
  }

 private:
  static constexpr std::uint32_t kBlockTrials = 5;

  Result<void> run_block(std::uint32_t block, std::uint32_t count) {
    ProbeOptions options = arguments_.probe;
    {
      STASIS_ASSIGN(const Scratch scratch, Scratch::make(arguments_.probe.directory));
      options.directory = scratch.path();
      STASIS_ASSIGN(const auto probe, Probe::launch(backend_, options));
      for (std::uint32_t i = 0; i < count; ++i) {
        STASIS_TRY(note("idle", block, probe->idle()));
        STASIS_TRY(note("arming", block, probe->arming()));
        STASIS_TRY(note("live", block, probe->live_save()));
      }
      STASIS_TRY(note("still_full", block, probe->still_save()));
    }
    STASIS_ASSIGN(const Scratch scratch, Scratch::make(arguments_.probe.directory));
    options.directory = scratch.path();
    STASIS_ASSIGN(const auto probe, Probe::launch(backend_, options));
    for (std::uint32_t i = 0; i < count; ++i) {
      STASIS_TRY(note("still_diff", block, probe->still_diff(arguments_.percent)));
    }
    return {};
  }

  Result<void> note(const std::string& cell, std::uint32_t block, Result<Metrics> outcome) {
    if (!outcome) {
      return std::move(outcome).error().with_context("cell " + cell);
    }
    Row row;
    row.experiment = "live_capture";
    row.plan = "live_capture";
    row.backend = backend_.name();
    row.cell = cell;
    row.factors = {{"memory_mib", std::to_string(arguments_.probe.memory_bytes >> 20U)},
                   {"mechanism", arguments_.probe.mechanism},
                   {"huge_pages", std::string(name_of(arguments_.probe.huge_pages))},
                   {"write_mib", std::to_string(arguments_.probe.write_mib)},
                   {"pace_ns", std::to_string(arguments_.probe.pace_ns)},
                   {"dirty_percent", std::to_string(arguments_.percent)}};
    row.block = block;
    row.order = order_++;
    row.wall_ns = host_clock().wall_ns();
    row.cache.asked = "any";
    row.noise = noise_.judge();
    row.metrics = *std::move(outcome);
    row.quotable = build_not_quotable_because().empty();
    gaps_[cell].push_back(row.metrics.at("guest_longest_gap_ns"));
    const char* const pause = cell == "arming" ? "arm_ns" : "paused_ns";
    if (const auto found = row.metrics.find(pause); found != row.metrics.end()) {
      pauses_[cell].push_back(found->second);
    }
    tainted_[cell] += row.tainted() ? 1U : 0U;
    const std::string line = to_json_line(row, facts_);
    if (std::fwrite(line.data(), 1, line.size(), file_) != line.size()) {
      return Error{Errc::kIo, 0, "write '" + arguments_.rows + "'"};
    }
    return {};
  }

  // The two aims that docs/live-capture.md names.
  void compare() const {
    const double live = experiments::median(gaps_.at("live"));
    const double arming = experiments::median(gaps_.at("arming"));
    const double diff = experiments::median(gaps_.at("still_diff"));
    fmt::print("\nlive beyond the arming floor: {:.3f} ms\n", (live - arming) / 1e6);
    fmt::print("live / still diff of {} % dirty: {:.3f}\n", arguments_.percent, live / diff);
    if (const std::string why = build_not_quotable_because(); !why.empty()) {
      fmt::print("not to be quoted: {}\n", why);
    }
  }

  Arguments arguments_;
  HypervisorBackend& backend_;
  std::FILE* file_;
  HostFacts facts_;
  NoiseMonitor noise_;
  std::uint32_t order_ = 0;
  std::map<std::string, std::vector<double>> gaps_, pauses_;
  std::map<std::string, std::uint32_t> tainted_;
};

Result<void> run(const std::vector<std::string>& words) {
  STASIS_ASSIGN(const Arguments arguments, parse(words));
  STASIS_ASSIGN(const std::unique_ptr<HypervisorBackend> backend, session::make_backend("kvm", {}));
  std::FILE* const file = std::fopen(arguments.rows.c_str(), "w");
  if (file == nullptr) {
    return errno_error(errno, "create '" + arguments.rows + "'");
  }
  Driver driver(arguments, *backend, file);
  Result<void> outcome = driver.run();
  const bool closed = std::fclose(file) == 0;
  STASIS_TRY(std::move(outcome));
  if (!closed) {
    return errno_error(errno, "write '" + arguments.rows + "'");
  }
  driver.summarize();
  return {};
}

}  // namespace
}  // namespace stasis::experiments

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && (words[0] == "--help" || words[0] == "-h")) {
    std::fputs(stasis::experiments::kUsage.data(), stdout);
    return 0;
  }
  const auto outcome = stasis::experiments::run(words);
  if (!outcome) {
    std::fprintf(stderr, "stasis-live-capture: error: %s\n", outcome.error().to_string().c_str());
    if (outcome.error().code == stasis::Errc::kInvalidArgument) {
      std::fputs(stasis::experiments::kUsage.data(), stderr);
    }
    return outcome.error().code == stasis::Errc::kInvalidArgument ? 2 : 1;
  }
  return 0;
}
