#include "experiments/harness/scratch.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScratchName = "stasis-scratch-";

}  // namespace

Result<Scratch> Scratch::make(const std::string& parent) {
  std::error_code failed;
  fs::create_directories(parent, failed);
  std::string pattern = parent + "/" + kScratchName + "XXXXXX";
  if (failed || ::mkdtemp(pattern.data()) == nullptr) {
    return errno_error(failed ? failed.value() : errno, "make a directory in " + parent);
  }
  return Scratch(pattern);
}

Scratch::~Scratch() {
  std::error_code ignored;
  if (!path_.empty()) {
    fs::remove_all(path_, ignored);
  }
}

void remove_stale_scratch(const std::string& run_directory) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_directory, ignored)) {
    if (entry.path().filename().string().starts_with(kScratchName)) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

}  // namespace stasis::experiments
