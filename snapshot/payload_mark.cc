#include "snapshot/payload_mark.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "snapshot/checksum.h"

namespace stasis::snapshot::internal {
namespace {

// 16 bytes for people and for file(1), zeros behind the words; the id; the checksum of both.
constexpr std::string_view kWords = "stasis payload";
constexpr std::size_t kWordsBytes = 16;
constexpr std::size_t kIdBytes = sizeof(SnapshotId::bytes);
constexpr std::size_t kChecked = kWordsBytes + kIdBytes;
static_assert(kWords.size() < kWordsBytes && kChecked + sizeof(std::uint64_t) == kPayloadMarkBytes);

// The size is the seed: a mark at another place than where its payload ends does not pass.
std::array<std::byte, 8> checksum_of(std::span<const std::byte> bytes,
                                     std::uint64_t payload_bytes) {
  const std::uint64_t value = chunk_checksum(bytes.first(kChecked), Gpa{payload_bytes});
  std::array<std::byte, 8> out = {};
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::byte>(value >> (8 * i));
  }
  return out;
}

}  // namespace

PayloadMark payload_mark(const SnapshotId& id, std::uint64_t payload_bytes) {
  PayloadMark mark = {};
  std::memcpy(mark.data(), kWords.data(), kWords.size());
  std::memcpy(mark.data() + kWordsBytes, id.bytes.data(), kIdBytes);
  std::ranges::copy(checksum_of(mark, payload_bytes), mark.begin() + kChecked);
  return mark;
}

Result<void> check_payload_mark(std::span<const std::byte, kPayloadMarkBytes> mark,
                                const SnapshotId& id, std::uint64_t payload_bytes) {
  SnapshotId found;
  std::memcpy(found.bytes.data(), mark.data() + kWordsBytes, kIdBytes);
  if (!std::ranges::equal(mark, payload_mark(found, payload_bytes))) {
    return Error{Errc::kCorruption, 0,
                 "the mark behind the payload is damaged; restore the file from a copy"};
  }
  if (found != id) {
    return Error{Errc::kMismatch, 0,
                 "it is the memory of snapshot " + to_string(found) + ", not of " + to_string(id) +
                     "; put the file back that was saved with this manifest"};
  }
  return {};
}

}  // namespace stasis::snapshot::internal
