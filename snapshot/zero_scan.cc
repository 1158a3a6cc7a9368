#include "snapshot/zero_scan.h"

#include <cstring>

#include "core/check.h"

namespace stasis::snapshot {
namespace {

// 64 bytes a step, in eight independent words that compilers turn into vector loads; the early way
// out costs a branch for each step, and most pages that are not zero leave at the first one.
bool block_is_zero(const std::byte* bytes) {
  std::uint64_t words[8];
  std::memcpy(words, bytes, sizeof(words));
  return (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) ==
         0;
}

}  // namespace

bool is_zero(std::span<const std::byte> bytes) {
  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  for (; at != end; at += 64) {
    if (!block_is_zero(at)) {
      return false;
    }
  }
  return true;
}

ZeroRun first_run(std::span<const std::byte> bytes, std::uint64_t page_size_bytes) {
  STASIS_CHECK(!bytes.empty() && bytes.size() % page_size_bytes == 0);
  ZeroRun run{page_size_bytes, is_zero(bytes.first(page_size_bytes))};
  while (run.bytes < bytes.size() &&
         is_zero(bytes.subspan(run.bytes, page_size_bytes)) == run.zero) {
    run.bytes += page_size_bytes;
  }
  return run;
}

}  // namespace stasis::snapshot
