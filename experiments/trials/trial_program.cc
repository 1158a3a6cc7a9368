// Where the program is that makes one trial.
#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/experiment_paths.h"  // Generated: where the build put stasis-trial.

namespace stasis::experiments {

Result<std::string> find_trial_program() {
  constexpr const char* kName = "stasis-trial";
  std::vector<std::filesystem::path> candidates;
  std::error_code ignored;
  if (const std::filesystem::path program =
          std::filesystem::read_symlink("/proc/self/exe", ignored);
      !ignored) {
    candidates.push_back(program.parent_path() / kName);
    candidates.push_back(program.parent_path().parent_path() / kLibexecSubdirectory / kName);
  }
  candidates.push_back(std::filesystem::path(kBuildDirectory) / kName);
  std::string searched;
  for (const std::filesystem::path& candidate : candidates) {
    if (std::filesystem::is_regular_file(candidate, ignored)) {
      return candidate.string();
    }
    searched += (searched.empty() ? "" : ", ") + candidate.string();
  }
  return Error{.code = Errc::kNotFound,
               .message = fmt::format("{} is in none of: {}; build the target {} or install it",
                                      kName, searched, kName)};
}

}  // namespace stasis::experiments
