// What the encodings of records (record_file.h) have in common. A record's type has `snapshot`,
// `root`, `unit_bytes` and `created_ns`; its schema has fields of these names, a version and a
// checksum. Included by the codecs only: they name the generated code. Private to snapshot/.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "core/result.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/words.h"

namespace stasis::snapshot::internal {

inline Error corrupt_record(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

// A page of some architecture.
inline std::optional<std::string> broken_unit_rule(std::uint32_t unit_bytes) {
  constexpr std::uint32_t kBytesMin = 4096, kBytesMax = 65536;
  if (std::has_single_bit(unit_bytes) && unit_bytes >= kBytesMin && unit_bytes <= kBytesMax) {
    return std::nullopt;
  }
  return "unitBytes is " + std::to_string(unit_bytes) + ", not a power of two from 4096 to 65536";
}

// The words that the checksum of a record begins with, with room for `more`.
template <typename Record>
std::vector<std::uint64_t> head_words(const Record& record, std::uint32_t version,
                                      std::size_t more) {
  static_assert(std::endian::native == std::endian::little);  // As the schemas have it.
  const auto [id_low, id_high] = std::bit_cast<std::array<std::uint64_t, 2>>(record.snapshot.bytes);
  std::vector<std::uint64_t> words;
  words.reserve(7 + more);
  words = {version,
           id_low,
           id_high,
           record.root.low,
           record.root.high,
           record.unit_bytes,
           static_cast<std::uint64_t>(record.created_ns)};
  return words;
}

template <typename Builder, typename Record>
void encode_head(Builder& builder, const Record& record, std::uint32_t version) {
  builder.setVersion(version);
  builder.setSnapshotId(kj::arrayPtr(record.snapshot.bytes.data(), record.snapshot.bytes.size()));
  builder.setRootLow(record.root.low);
  builder.setRootHigh(record.root.high);
  builder.setUnitBytes(record.unit_bytes);
  builder.setCreatedNs(record.created_ns);
}

// The head into `record`. kNotSupported for a version above `version`, the newest of `what` ("an
// access trace") that this program reads; kCorruption.
template <typename Reader, typename Record>
Result<void> decode_head(const Reader& reader, std::uint32_t version, std::string_view what,
                         Record& record) {
  if (reader.getVersion() > version) {
    return Error{Errc::kNotSupported, 0,
                 "version " + std::to_string(reader.getVersion()) + " of " + std::string(what) +
                     "; this program reads version " + std::to_string(version)};
  }
  if (reader.getVersion() != version) {
    return corrupt_record("version is " + std::to_string(reader.getVersion()));
  }
  const auto id = reader.getSnapshotId();
  if (id.size() != record.snapshot.bytes.size()) {
    return corrupt_record("snapshotId has " + std::to_string(id.size()) + " bytes");
  }
  std::ranges::copy(id, record.snapshot.bytes.begin());
  record.root = {reader.getRootLow(), reader.getRootHigh()};
  record.unit_bytes = reader.getUnitBytes();
  record.created_ns = reader.getCreatedNs();
  return {};
}

template <typename Builder>
void encode_checksum(Builder& builder, std::span<const std::uint64_t> words) {
  const std::array<std::uint64_t, 2> checksum = wide_checksum(std::as_bytes(words));
  builder.setChecksumLow(checksum[0]);
  builder.setChecksumHigh(checksum[1]);
}

template <typename Reader>
Result<void> check_checksum(const Reader& reader, std::span<const std::uint64_t> words) {
  if (wide_checksum(std::as_bytes(words)) !=
      std::array{reader.getChecksumLow(), reader.getChecksumHigh()}) {
    return corrupt_record("checksum does not match");
  }
  return {};
}

// decode() of the message of Schema in `file`. kCorruption for what is none.
template <typename Schema, typename Decode>
auto decode_message(std::span<const std::byte> file, std::uint64_t bytes_max, Decode decode)
    -> decltype(decode(std::declval<typename Schema::Reader>())) {
  if (file.size() > bytes_max || file.size() % sizeof(capnp::word) != 0) {
    return corrupt_record(std::to_string(file.size()) +
                          " bytes: not whole words, or more than the " + std::to_string(bytes_max) +
                          " allowed");
  }
  try {
    const AlignedWords words(file);
    capnp::FlatArrayMessageReader reader(words.get(), reader_options(file.size()));
    return decode(reader.getRoot<Schema>());
  } catch (const kj::Exception& exception) {
    return corrupt_record(exception.getDescription().cStr());
  }
}

}  // namespace stasis::snapshot::internal
