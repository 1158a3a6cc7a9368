// The value of a Result in a test that cannot go on without it.
#pragma once

#include <stdexcept>
#include <utility>

#include "core/result.h"

namespace stasis {

// GoogleTest reports the exception as the test's failure.
template <typename T>
T must(Result<T> result) {
  if (!result) {
    throw std::runtime_error(result.error().to_string());
  }
  return *std::move(result);
}

inline void must(Result<void> result) {
  if (!result) {
    throw std::runtime_error(result.error().to_string());
  }
}

}  // namespace stasis
