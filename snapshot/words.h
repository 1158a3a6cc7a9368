// Between bytes and Cap'n Proto's words. Private to the codec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/array.h>

namespace stasis::snapshot::internal {

// `bytes` (a multiple of 8 long; a rest is not seen) as words: in place where they are aligned,
// else a copy. Valid while both live.
class AlignedWords {
 public:
  explicit AlignedWords(std::span<const std::byte> bytes) {
    const std::size_t count = bytes.size() / sizeof(capnp::word);
    const void* const data = bytes.data();
    if (reinterpret_cast<std::uintptr_t>(data) % alignof(capnp::word) == 0) {
      words_ = kj::arrayPtr(static_cast<const capnp::word*>(data), count);
      return;
    }
    copy_ = kj::heapArray<capnp::word>(count);
    std::memcpy(copy_.begin(), data, count * sizeof(capnp::word));
    words_ = copy_;
  }
  [[nodiscard]] kj::ArrayPtr<const capnp::word> get() const { return words_; }

 private:
  kj::Array<capnp::word> copy_;
  kj::ArrayPtr<const capnp::word> words_;
};

// Every word may be visited about once: a message that points to the same word again and again is
// refused instead of expanded.
inline capnp::ReaderOptions reader_options(std::uint64_t message_bytes) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = (message_bytes / sizeof(capnp::word)) + 64;
  options.nestingLimit = 8;
  return options;
}

inline std::vector<std::byte> bytes_of(capnp::MessageBuilder& message) {
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  return {bytes.begin(), bytes.end()};
}

}  // namespace stasis::snapshot::internal
