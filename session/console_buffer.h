// The last output of a guest, its streams in one. Private to session/.
#pragma once

#include <string>
#include <string_view>

#include "core/mutex.h"
#include "session/options.h"

namespace stasis::session::internal {

// Thread-safe.
class ConsoleBuffer {
 public:
  ConsoleBuffer(std::size_t bytes_max, ConsoleSink sink)
      : bytes_max_(bytes_max), sink_(std::move(sink)) {}

  void append(std::string_view text, ConsoleStream stream = ConsoleStream::kOutput) {
    if (sink_) {
      sink_(stream, text);
    }
    const MutexLock lock(mutex_);
    text_ += text;
    if (text_.size() > bytes_max_) {
      text_.erase(0, text_.size() - bytes_max_);
    }
  }
  [[nodiscard]] std::string text() const {
    const MutexLock lock(mutex_);
    return text_;
  }

 private:
  const std::size_t bytes_max_;
  const ConsoleSink sink_;  // Called from vCPU threads, one at a time.
  mutable Mutex mutex_;
  std::string text_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::session::internal
