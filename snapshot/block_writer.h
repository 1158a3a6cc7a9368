// Writes of whole, aligned blocks from what several threads append to a file. Private to snapshot/.
//
// The kernel keeps what is written in units of the write, as far as it is aligned: a file written
// in aligned blocks of 2 MiB lies in the page cache in 2 MiB pieces, and mapping or reading it then
// takes a few steps instead of one for each page. An eager restore of such a payload took 42 ms
// instead of 72 for 256 MiB (decision 0017).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "core/mutex.h"
#include "core/result.h"
#include "snapshot/file_system.h"

namespace stasis::snapshot::internal {

inline constexpr std::uint64_t kFileBlockBytes = std::uint64_t{2} << 20U;

// Thread-safe. Resource; borrows the file.
class BlockWriter {
 public:
  enum class Writeback : std::uint8_t { kByTheKernel, kEarly };
  BlockWriter(WritableFile& file, Writeback writeback) : file_(file), writeback_(writeback) {}

  // All calls together cover the file from its beginning to its end, each byte once, in any order.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
  // Once, when all calls have returned: writes the last block, which is not full.
  Result<void> finish();

 private:
  struct Block {
    std::unique_ptr<std::byte[]> bytes;  // NOLINT(*-avoid-c-arrays): not to be initialised.
    std::uint64_t filled = 0;
  };
  Block& block(std::uint64_t index) STASIS_REQUIRES(mutex_);
  Result<void> put(std::uint64_t index, const Block& block);

  // Constant after construction.
  WritableFile& file_;
  const Writeback writeback_;
  Mutex mutex_;
  // By index; those being filled. At most as many as threads that write, and one more.
  std::map<std::uint64_t, Block> blocks_ STASIS_GUARDED_BY(mutex_);
  std::vector<Block> spare_ STASIS_GUARDED_BY(mutex_);  // Their memory is used again.
};

}  // namespace stasis::snapshot::internal
