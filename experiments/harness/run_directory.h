// A run's directory: plan.json and rows.jsonl, continued where an earlier run stopped.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <utility>

#include "core/result.h"
#include "core/unique_fd.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/plan.h"
#include "experiments/harness/row.h"

namespace stasis::experiments {

// Resource: holds the directory's lock. Not thread-safe.
class RunDirectory {
 public:
  // Creates the directory, or continues the run in it if its plan is the same but for the number of
  // trials. Errors: kInvalidArgument (rows of another plan, or files that are no run; the message
  // says what differs and what to do), kAlreadyExists (another process writes to it now), kIo.
  static Result<RunDirectory> open(const std::string& path, const Plan& plan);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string rows_path() const { return path_ + "/rows.jsonl"; }

  // True if a row of this block and cell without an error is there. Failed trials are made again.
  [[nodiscard]] bool has_row(std::uint32_t block, const std::string& cell) const {
    return done_.contains({block, cell});
  }
  // Rows found when the run was continued.
  [[nodiscard]] std::size_t resumed_rows() const { return resumed_rows_; }

  // Appends one line with one write: a crash or Ctrl-C loses at most the trial in progress.
  Result<void> append(const Row& row, const HostFacts& host);

 private:
  RunDirectory(std::string path, UniqueFd lock, UniqueFd rows)
      : path_(std::move(path)), lock_(std::move(lock)), rows_(std::move(rows)) {}

  std::string path_;
  UniqueFd lock_;
  UniqueFd rows_;
  std::set<std::pair<std::uint32_t, std::string>> done_;
  std::size_t resumed_rows_ = 0;
};

}  // namespace stasis::experiments
