#include "experiments/report/loaded_run.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "experiments/harness/text_file.h"

namespace stasis::experiments {

Result<LoadedRun> load_run(const std::string& directory) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored)) {
    return Error{.code = Errc::kNotFound, .message = directory + ": no such directory"};
  }
  LoadedRun run{.directory = directory, .plan = {}, .host = {}, .rows = {}};
  const std::string plan_path = directory + "/plan.json";
  auto plan_text = read_text_file(plan_path);
  if (!plan_text) {
    Error error = std::move(plan_text).error();
    if (error.code == Errc::kNotFound) {
      error.message += "; `stasis experiment run` writes one into the directory of a run";
    }
    return error;
  }
  STASIS_ASSIGN(run.plan, plan_from_json(*plan_text, plan_path));
  STASIS_ASSIGN(run.rows, read_rows(directory + "/rows.jsonl"));
  STASIS_ASSIGN(run.host, read_host_facts(directory + "/rows.jsonl"));
  return run;
}

}  // namespace stasis::experiments
