#include <algorithm>
#include <cstring>

#include <lz4.h>
#include <xxhash.h>

#include "core/clock.h"
#include "experiments/floor/floors.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kPage = 4096;

// Keeps a result alive without writing it anywhere.
void use(std::uint64_t value) {
  asm volatile("" : : "r"(value) : "memory");  // NOLINT: no other way in C++.
}

bool is_zero_page(const std::byte* page) {
  // Groups of 512 bytes: long enough for the compiler's vectors, short enough to stop early.
  constexpr std::size_t kGroup = 512;
  for (std::size_t group = 0; group < kPage; group += kGroup) {
    std::uint64_t any = 0;
    for (std::size_t i = 0; i < kGroup; i += sizeof(any)) {
      std::uint64_t word = 0;
      std::memcpy(&word, page + group + i, sizeof(word));
      any |= word;
    }
    if (any != 0) {
      return false;
    }
  }
  return true;
}

std::size_t count_nonzero(std::span<const std::byte> memory) {
  std::size_t nonzero = 0;
  for (std::size_t offset = 0; offset + kPage <= memory.size(); offset += kPage) {
    nonzero += is_zero_page(&memory[offset]) ? 0U : 1U;
  }
  return nonzero;
}

}  // namespace

std::int64_t zero_scan_ns(std::span<const std::byte> memory, std::size_t& nonzero_pages) {
  const MonotonicNs begin = host_clock().now();
  nonzero_pages = count_nonzero(memory);
  use(nonzero_pages);
  return host_clock().now() - begin;
}

std::int64_t scan_and_hash_ns(std::span<const std::byte> memory, std::size_t chunk_bytes) {
  const MonotonicNs begin = host_clock().now();
  for (std::size_t offset = 0; offset < memory.size(); offset += chunk_bytes) {
    const auto chunk = memory.subspan(offset, std::min(chunk_bytes, memory.size() - offset));
    if (count_nonzero(chunk) > 0) {
      use(XXH3_64bits_withSeed(chunk.data(), chunk.size(), offset));
    }
  }
  return host_clock().now() - begin;
}

std::int64_t hash_ns(std::span<const std::byte> memory, std::size_t chunk_bytes) {
  const MonotonicNs begin = host_clock().now();
  for (std::size_t offset = 0; offset < memory.size(); offset += chunk_bytes) {
    const auto chunk = memory.subspan(offset, std::min(chunk_bytes, memory.size() - offset));
    use(XXH3_64bits_withSeed(chunk.data(), chunk.size(), offset));
  }
  return host_clock().now() - begin;
}

Lz4Image compress_chunks(std::span<const std::byte> memory, std::size_t chunk_bytes) {
  Lz4Image image;
  image.raw_bytes = memory.size();
  std::vector<char> buffer(
      static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(chunk_bytes))));
  const auto* source = static_cast<const char*>(static_cast<const void*>(memory.data()));
  for (std::size_t offset = 0; offset < memory.size(); offset += chunk_bytes) {
    const std::size_t raw = std::min(chunk_bytes, memory.size() - offset);
    const MonotonicNs begin = host_clock().now();
    const int stored = LZ4_compress_default(source + offset, buffer.data(), static_cast<int>(raw),
                                            static_cast<int>(buffer.size()));
    image.compress_ns += host_clock().now() - begin;
    Lz4Chunk chunk{.raw_offset = offset, .raw_bytes = raw, .stored = {}};
    if (stored > 0 && static_cast<std::size_t>(stored) < raw) {
      chunk.stored.assign(buffer.begin(), buffer.begin() + stored);
    }
    image.stored_bytes += chunk.stored.empty() ? raw : chunk.stored.size();
    image.chunks.push_back(std::move(chunk));
  }
  return image;
}

Result<std::int64_t> decompress_to_fresh_ns(const Lz4Image& image,
                                            std::span<const std::byte> source) {
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const FreshMemory memory, FreshMemory::map(Backing::kHugePages, image.raw_bytes));
  auto* target = static_cast<char*>(static_cast<void*>(memory.bytes().data()));
  for (const Lz4Chunk& chunk : image.chunks) {
    if (chunk.stored.empty()) {
      std::memcpy(target + chunk.raw_offset, &source[chunk.raw_offset], chunk.raw_bytes);
      continue;
    }
    const int raw = LZ4_decompress_safe(chunk.stored.data(), target + chunk.raw_offset,
                                        static_cast<int>(chunk.stored.size()),
                                        static_cast<int>(chunk.raw_bytes));
    if (raw != static_cast<int>(chunk.raw_bytes)) {
      return Error{.code = Errc::kCorruption,
                   .message = "LZ4 floor: a chunk did not decompress to its own size"};
    }
  }
  return host_clock().now() - begin;
}

}  // namespace stasis::experiments
