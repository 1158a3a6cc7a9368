// The only file that names LZ4.
#include "snapshot/page_codec.h"

#include <algorithm>
#include <string>

#include <lz4.h>

namespace stasis::snapshot {
namespace {

const char* chars(const std::byte* bytes) {
  return static_cast<const char*>(static_cast<const void*>(bytes));
}
char* chars(std::byte* bytes) {
  return static_cast<char*>(static_cast<void*>(bytes));
}

}  // namespace

std::size_t compress_chunk(std::span<const std::byte> raw, std::span<std::byte> out) {
  // A destination that is one byte too small for the raw length makes LZ4 give up early.
  const int used =
      LZ4_compress_default(chars(raw.data()), chars(out.data()), static_cast<int>(raw.size()),
                           static_cast<int>(std::min(out.size(), raw.size() - 1)));
  return static_cast<std::size_t>(used);
}

Result<void> decompress_chunk(std::span<const std::byte> stored, std::span<std::byte> out) {
  const int got =
      LZ4_decompress_safe(chars(stored.data()), chars(out.data()), static_cast<int>(stored.size()),
                          static_cast<int>(out.size()));
  if (got < 0) {
    return Error{Errc::kCorruption, 0, "not a valid LZ4 block"};
  }
  if (static_cast<std::size_t>(got) != out.size()) {
    return Error{
        Errc::kCorruption, 0,
        "LZ4 block of " + std::to_string(got) + " bytes instead of " + std::to_string(out.size())};
  }
  return {};
}

}  // namespace stasis::snapshot
