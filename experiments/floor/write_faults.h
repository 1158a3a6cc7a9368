// userfaultfd's write protection with the least around it: a thread that notes a fault's page and
// makes it writable.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"

namespace stasis::experiments {

// Resource.
class WriteFaultThread {
 public:
  // Protects all of `memory`, which must outlive this. kNotSupported where the host cannot.
  static Result<std::unique_ptr<WriteFaultThread>> start(std::span<std::byte> memory);
  // Afterwards nothing is protected.
  virtual ~WriteFaultThread() = default;
  // The pages written since the last call, which are protected again. Nobody may be writing.
  virtual Result<std::vector<std::byte*>> take() = 0;
};

}  // namespace stasis::experiments
