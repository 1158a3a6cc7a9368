// The physical floors of restoring and saving, as functions: each does the least work that moves
// the bytes, and returns nanoseconds. `stasis-floor` runs them as benchmarks; restore_latency calls
// them between its trials, so that a result and its floor meet the same host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "experiments/floor/fresh_memory.h"

namespace stasis::experiments {

// Mapping `bytes` and writing to every page.
Result<std::int64_t> first_touch_ns(Backing backing, std::size_t bytes,
                                    const std::string& path = {});
// memcpy between populated huge-page memory.
Result<std::int64_t> copy_ns(std::size_t bytes);
// memcpy into fresh huge-page memory.
Result<std::int64_t> copy_to_fresh_ns(std::span<const std::byte> source);

// A part of a file that holds data.
struct FileSegment {
  std::uint64_t offset = 0, bytes = 0;
};
Result<std::vector<FileSegment>> file_segments(const std::string& path);
// Reading all data of the file at its own offsets into fresh huge-page memory as large as the file,
// in blocks of at most `block_bytes`, mapping included: the floor of an eager restore.
Result<std::int64_t> pread_to_fresh_ns(const std::string& path, std::size_t block_bytes);

// Finds out which pages of 4 KiB are not zero. The count goes to `nonzero_pages`.
std::int64_t zero_scan_ns(std::span<const std::byte> memory, std::size_t& nonzero_pages);
// The same, and XXH3-64 of every chunk that has one: the floor of a save's reading side.
std::int64_t scan_and_hash_ns(std::span<const std::byte> memory, std::size_t chunk_bytes);
// XXH3-64 of every chunk.
std::int64_t hash_ns(std::span<const std::byte> memory, std::size_t chunk_bytes);

// Writing `segments` of `memory` back to back to a new file at `path`, which is removed: the floor
// of a save's writing side.
struct WriteTimes {
  std::int64_t write = 0;
  std::int64_t sync = 0;  // fdatasync afterwards.
};
Result<WriteTimes> write_file_ns(const std::string& path, std::span<const std::byte> memory,
                                 std::span<const FileSegment> segments);

// LZ4 by the library alone.
struct Lz4Chunk {
  std::size_t raw_offset = 0, raw_bytes = 0;
  std::vector<char> stored;  // Empty: not smaller, would be stored raw.
};
struct Lz4Image {
  std::size_t raw_bytes = 0, stored_bytes = 0;
  std::vector<Lz4Chunk> chunks;
  std::int64_t compress_ns = 0;
};
Lz4Image compress_chunks(std::span<const std::byte> memory, std::size_t chunk_bytes);
// Into fresh huge-page memory, one thread, mapping included. kCorruption if the library fails.
// `source` serves the chunks that did not shrink.
Result<std::int64_t> decompress_to_fresh_ns(const Lz4Image& image,
                                            std::span<const std::byte> source);

// Data as a guest's memory has it, the same for every seed: pages of text, pointers, mostly zeros,
// and noise in equal parts. For benchmarks that have no snapshot.
void fill_with_sample(std::span<std::byte> memory, std::uint64_t seed);

}  // namespace stasis::experiments
