#include "experiments/harness/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "experiments/harness/text_file.h"

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlanFile = "/plan.json";

Error other_run(const std::string& path, const std::string& what) {
  return Error{.code = Errc::kInvalidArgument,
               .message = path + ": " + what +
                          "; rows of different plans cannot be mixed: choose another directory or "
                          "remove this one"};
}

std::string first_difference(const Plan& old_plan, const Plan& plan) {
  const auto differ = [](const std::string& name, const std::string& was, const std::string& is) {
    return "holds a run with " + name + " " + was + ", not " + is;
  };
  if (old_plan.experiment != plan.experiment) {
    return differ("experiment", old_plan.experiment, plan.experiment);
  }
  if (old_plan.seed != plan.seed) {
    return differ("seed", std::to_string(old_plan.seed), std::to_string(plan.seed));
  }
  if (old_plan.scale != plan.scale) {
    return differ("scale", old_plan.scale, plan.scale);
  }
  if (old_plan.backend != plan.backend) {
    return differ("backend", old_plan.backend, plan.backend);
  }
  for (std::size_t i = 0; i < plan.identity.size() && i < old_plan.identity.size(); ++i) {
    if (old_plan.identity[i] != plan.identity[i]) {
      return differ(plan.identity[i].first, old_plan.identity[i].second, plan.identity[i].second);
    }
  }
  return "holds a run with other cells";
}

// Continues or begins. The lock is held.
Result<void> settle_plan(const std::string& path, const Plan& plan) {
  auto text = read_text_file(path + kPlanFile);
  if (!text && text.error().code == Errc::kNotFound) {
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator(path, failed)) {
      if (entry.path().filename() != "lock") {
        return other_run(path, "holds '" + entry.path().filename().string() + "' but no run");
      }
    }
    return write_text_file(path + kPlanFile, to_json_text(plan));
  }
  STASIS_TRY(text);
  STASIS_ASSIGN(const Plan old_plan, plan_from_json(*text, path + kPlanFile));
  if (plan_id(old_plan) != plan_id(plan)) {
    return other_run(path, first_difference(old_plan, plan));
  }
  if (old_plan.trials != plan.trials) {
    return write_text_file(path + kPlanFile, to_json_text(plan));
  }
  return {};
}

// Cuts a last line that has no newline: what a crash left of a row.
Result<void> drop_torn_line(int fd, const std::string& path) {
  STASIS_ASSIGN(const std::string text, read_text_file(path));
  const std::size_t complete = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (complete != text.size() && ::ftruncate(fd, static_cast<off_t>(complete)) != 0) {
    return errno_error(errno, "truncate " + path);
  }
  return {};
}

Result<UniqueFd> lock_directory(const std::string& path) {
  UniqueFd lock(::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.is_open()) {
    return errno_error(errno, "create " + path + "/lock");
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return Error{.code = Errc::kAlreadyExists,
                   .message = path +
                              ": another process is running an experiment in it; wait for "
                              "it or choose another directory"};
    }
    return errno_error(errno, "lock " + path + "/lock");
  }
  return lock;
}

}  // namespace

Result<RunDirectory> RunDirectory::open(const std::string& path, const Plan& plan) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) {
    return errno_error(failed.value(), "create directory " + path);
  }
  STASIS_ASSIGN(UniqueFd lock, lock_directory(path));
  STASIS_TRY(settle_plan(path, plan));
  const std::string rows_path = path + "/rows.jsonl";
  UniqueFd rows(::open(rows_path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!rows.is_open()) {
    return errno_error(errno, "open " + rows_path);
  }
  STASIS_TRY(drop_torn_line(rows.get(), rows_path));
  RunDirectory directory(path, std::move(lock), std::move(rows));
  STASIS_ASSIGN(const std::vector<Row> found, read_rows(rows_path));
  const std::string id = plan_id(plan);
  for (const Row& row : found) {
    if (row.plan == id && row.error.empty()) {
      directory.done_.insert({row.block, row.cell});
    }
  }
  directory.resumed_rows_ = directory.done_.size();
  return directory;
}

Result<void> RunDirectory::append(const Row& row, const HostFacts& host) {
  STASIS_TRY(write_all(rows_.get(), to_json_line(row, host), rows_path()));
  if (row.error.empty()) {
    done_.insert({row.block, row.cell});
  }
  return {};
}

}  // namespace stasis::experiments
