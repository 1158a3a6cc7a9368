// A directory for the gigabytes that a run makes and does not keep.
#pragma once

#include <string>
#include <utility>

#include "core/result.h"

namespace stasis::experiments {

// Resource: removed with everything in it, however the run ends.
class Scratch {
 public:
  // Makes a new directory in `parent`, which is created. kIo.
  static Result<Scratch> make(const std::string& parent);
  ~Scratch();
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Removes what runs that were killed have left in their own directory. The caller must know that no
// other run uses it.
void remove_stale_scratch(const std::string& run_directory);

}  // namespace stasis::experiments
