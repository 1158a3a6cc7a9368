// The experiments by name: what `stasis experiment list | run` offers.
//
// An experiment measures, writes one JSON object a trial to DIRECTORY/rows.jsonl, summarises the
// rows and renders DIRECTORY/report.html and report.txt. docs/measuring.md explains the method.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "experiments/stats/bootstrap.h"

namespace stasis::experiments {

// Value.
struct ExperimentInfo {
  std::string name;      // "restore_latency"
  std::string question;  // What it answers, in one sentence.
  std::string takes;     // How long and how much disk: "about 25 min, 9 GiB; --quick 1 min, 1 GiB".
};

// In the order in which a newcomer should read them.
std::vector<ExperimentInfo> list();

enum class Scale : std::uint8_t {
  kFull,   // What may be quoted: every cell, at least 30 trials each.
  kQuick,  // Small guests and few trials: shows that all works and roughly where time goes.
};

// Which levels of what an experiment varies are measured. Empty lists: the experiment's own choice.
// Value.
struct Selection {
  std::vector<std::string> policies = {};  // Names of snapshot/policies.
  std::vector<std::string> trackers = {};  // Names of snapshot/trackers.
  std::vector<std::string> profiles = {};  // Names or files of experiments/profiles.
  std::vector<std::string> cells = {};     // Parts of cells' names (harness/cell_filter.h).
};

// Value, but for what it borrows.
struct RunOptions {
  // Where rows and reports go; created. A directory that holds rows of the same plan and seed is
  // continued, one that holds anything else is refused. Empty: "runs/NAME-<seed>" of the working
  // directory.
  std::string directory = {};
  Scale scale = Scale::kFull;
  std::string backend = "auto";  // As session::make_backend takes it.
  std::uint32_t trials = 0;      // Of each cell; 0: 30, and 5 when quick.
  std::uint64_t seed = 1;        // Of the order of trials and of the bootstrap.
  Selection selection = {};
  // Where snapshots and scratch files are made (several GiB; removed at the end). Empty: inside
  // `directory`. Its file system is part of what is measured.
  std::string scratch_directory = {};
  // The program that runs one trial in a fresh process; empty: find_trial_program().
  std::string trial_program = {};
  // Where progress is shown: a line that says what is to be done and how long it may take, and then
  // how far it is: rewritten in place on a terminal, a line now and then elsewhere. Borrowed; null:
  // silent.
  std::FILE* progress = nullptr;
  // Set by a signal handler to stop early: the rows so far are kept and reported. Borrowed.
  const std::atomic<bool>* cancel = nullptr;
};

// An acceptance inequality, evaluated on the data. It is information: no test and no exit code
// depends on it. Value.
struct CheckOutcome {
  enum class Verdict : std::uint8_t { kPass, kFail, kNotApplicable };
  std::string name;         // "lazy_1g_vs_floor"
  std::string requirement;  // "lazy, warm, 1 GiB: first instruction at most 1.3 x bare KVM"
  Verdict verdict = Verdict::kNotApplicable;
  double value = 0;  // Of the left side; the interval is the 95 % confidence interval.
  double low = 0, high = 0;
  double limit = 0;
  // The interval contains the limit, or a single pair gives none: another run may well decide
  // otherwise. Never of a maximum, a count or a fit, which have no interval (low == high == value).
  bool within_noise = false;
  std::string figures;  // The values in words, or why the check does not apply.
};
std::string_view name_of(CheckOutcome::Verdict verdict);
// The verdict as reports show it: "pass", "FAIL", each also with ", within noise", or "n/a".
std::string verdict_text(const CheckOutcome& check);

// Value.
struct RunOutcome {
  std::string directory;
  std::string rows_path, html_path, text_path;
  std::string summary;  // The text report: tables, checks, warnings. Ends with a newline.
  std::vector<CheckOutcome> checks;
  std::size_t rows = 0;          // Of trials that count, warm-ups excluded.
  std::size_t tainted_rows = 0;  // Measured while the host was busy; kept, marked.
  std::size_t failed_rows = 0;   // Trials that ended in an error; the row says which.
  bool interrupted = false;
  // False for a build that must not be quoted, an interrupted or quick run, or too many tainted
  // rows; `not_quotable_because` says which.
  bool quotable = false;
  std::string not_quotable_because;
};

// Errors: kNotFound (no such experiment; the message lists them), kInvalidArgument (directory holds
// another run; the selection names what does not exist), kNotSupported (the backend cannot do it),
// kIo. A failed trial is a row, not an error.
Result<RunOutcome> run(std::string_view name, const RunOptions& options);

// Summarises and renders the rows of an earlier run again.
Result<RunOutcome> report(const std::string& directory);

// How two runs are compared. Value.
struct CompareOptions {
  // A cell has become worse if the whole interval of its ratio lies above 1 + threshold, and better
  // if it lies below 1 - threshold.
  double threshold = 0.05;
  // Values of one block are taken as pairs. Only for runs that were made alternately, block by
  // block: otherwise the blocks of two runs have nothing in common but their numbers.
  bool paired = false;
};

// One cell in both runs. Value.
struct CellComparison {
  enum class Verdict : std::uint8_t {
    kWorse,
    kBetter,
    kSame,       // The interval lies within the threshold on both sides.
    kUndecided,  // It does not: more trials would tell.
    kMissing,    // One of the runs has no rows of it.
  };
  std::string cell, metric;
  std::size_t before_trials = 0, after_trials = 0;
  double before = 0, after = 0;          // Medians.
  Interval ratio = {};                   // after / before, 95 %.
  double cliffs_delta = 0;               // -1 .. 1; above 0: `after` is larger.
  double minimum_detectable_effect = 0;  // Relative; 0 if the median is not positive.
  Verdict verdict = Verdict::kMissing;
};
std::string_view name_of(CellComparison::Verdict verdict);

// Value.
struct Comparison {
  std::string experiment;
  std::string before, after;  // Directories.
  CompareOptions options;
  // What else differs between the runs: "commit: abc, def"; and what speaks against either.
  std::vector<std::string> differences, warnings;
  std::vector<CellComparison> cells;  // In the order of the plan of `before`.
  // The geometric mean of the cells' ratios; nothing if there is no cell in both.
  std::optional<double> mean_ratio = {};
  std::size_t worse = 0, better = 0, undecided = 0;
  std::string summary;  // As text; ends with a newline.
};

// Holds the run in the directory `after` against the one in `before`. Errors: kInvalidArgument
// (runs of different experiments, backends or scales), and those of report().
Result<Comparison> compare(const std::string& before, const std::string& after,
                           const CompareOptions& options = {});

// Value.
struct PageOptions {
  std::string html_path = {};         // Empty: report.html in the first directory.
  std::string against = {};           // A run that those of the same experiment are compared with.
  std::string export_directory = {};  // CSV and gnuplot go there, a folder a run; empty: none.
  CompareOptions compare = {};
};

// Value.
struct Page {
  std::string html_path;
  std::vector<std::string> exported;  // Folders.
  std::vector<RunOutcome> runs;       // In the order that was asked for.
};

// One HTML file about one run or several, which needs no other file. Errors: those of report() and
// compare(), and kInvalidArgument if no run is of the experiment of `against`.
Result<Page> write_page(const std::vector<std::string>& directories, const PageOptions& options);

// `stasis-trial`: beside the running program, in ../libexec/stasis, or in the build tree.
Result<std::string> find_trial_program();

}  // namespace stasis::experiments
