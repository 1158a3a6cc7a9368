#include "fuzz/targets.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "snapshot/checksum.h"
#include "snapshot/chunk_table.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/page_codec.h"

namespace stasis::fuzz {

using namespace stasis::snapshot;  // NOLINT(google-build-using-namespace)

void manifest(std::span<const std::byte> input) {
  // As a file: nothing but the header can be reached without its checksum.
  if (const auto header = decode_header(input)) {
    STASIS_CHECK(input.size() >= 8);
  }
  static_cast<void>(decode_manifest(input).has_value());
  // As the message behind the header.
  const auto decoded = decode_manifest_body(input);
  if (!decoded) {
    STASIS_CHECK(decoded.error().code == Errc::kCorruption);
    return;
  }
  const auto encoded = encode_manifest(*decoded);
  STASIS_CHECK(encoded.has_value());
  const auto again = decode_manifest(*encoded);
  STASIS_CHECK(again.has_value() && again->manifest == *decoded);
}

namespace {

// What the index belongs to: two regions, every kind of extent, a codec by choice.
Manifest manifest_for_index(bool lz4) {
  Manifest manifest;
  manifest.layout = Layout::kPacked;
  manifest.codec = lz4 ? Codec::kLz4 : Codec::kNone;
  manifest.chunk_bytes = 8192;
  const ExtentKind stored = lz4 ? ExtentKind::kLz4 : ExtentKind::kRaw;
  manifest.regions = {{{Gpa{4096}, 65536}}, {{Gpa{1U << 20U}, 16384}}};
  manifest.extents = {{{Gpa{4096}, 20480}, stored, 0, 0},
                      {{Gpa{24576}, 12288}, ExtentKind::kZero, 0, 0},
                      {{Gpa{36864}, 32768}, ExtentKind::kRaw, 20480, 3},
                      {{Gpa{1U << 20U}, 16384}, stored, 53248, 8}};
  manifest.payload_bytes = 69632;
  manifest.chunk_count = 10;
  return manifest;
}

}  // namespace

void index(std::span<const std::byte> input) {
  for (const bool lz4 : {false, true}) {
    Manifest manifest = manifest_for_index(lz4);
    manifest.index_bytes = input.size();
    manifest.index_checksum = wide_checksum(input);
    const auto table = decode_chunk_table(manifest, input);
    if (!table) {
      STASIS_CHECK(table.error().code == Errc::kCorruption);
      continue;
    }
    STASIS_CHECK(table->chunks.size() == manifest.chunk_count);
    for (const Chunk& chunk : table->chunks) {
      STASIS_CHECK(fits(chunk.file_offset, chunk.stored_bytes, manifest.payload_bytes));
    }
    const auto encoded = encode_chunk_table(manifest.id, manifest.codec, table->chunks);
    manifest.index_bytes = encoded.size();
    manifest.index_checksum = wide_checksum(encoded);
    const auto again = decode_chunk_table(manifest, encoded);
    STASIS_CHECK(again.has_value() && *again == *table);
  }
}

void page_codec(std::span<const std::byte> input) {
  std::vector<std::byte> page(4096);
  static_cast<void>(decompress_chunk(input, page).has_value());
  if (input.empty()) {
    return;
  }
  std::vector<std::byte> stored(input.size());
  const std::size_t used = compress_chunk(input, stored);
  if (used == 0) {
    return;
  }
  STASIS_CHECK(used < input.size());
  std::vector<std::byte> back(input.size());
  STASIS_CHECK(decompress_chunk(std::span(stored).first(used), back).has_value());
  STASIS_CHECK(std::equal(back.begin(), back.end(), input.begin()));
}

}  // namespace stasis::fuzz
