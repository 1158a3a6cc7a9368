// Values, memory and snapshots for the tests of the format.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/guest_memory.h"
#include "core/machine.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_chain.h"
#include "snapshot/snapshot_writer.h"

namespace stasis::snapshot {

using Random = std::mt19937_64;

// Random in every field; lists of random length.
X86VcpuState random_x86_state(Random& random);
Arm64VcpuState random_arm64_state(Random& random);
ToyVcpuState random_toy_state(Random& random);
MachineState random_machine(Random& random, Architecture architecture, std::size_t vcpus);
// Valid by all rules: any layout, codec, page size, regions, extents.
Manifest random_manifest(Random& random);

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;

// Never fails: a test without memory is no test.
std::unique_ptr<GuestMemory> make_memory(const GpaRanges& ranges, std::uint64_t page_size = 4096);
// Each page becomes zero, noise, or compressible text, in short and long runs.
void fill_randomly(GuestMemory& memory, Random& random);
// Writes noise to about one of `one_in` pages (at least one); returns them.
GpaRanges dirty_randomly(GuestMemory& memory, Random& random, std::uint64_t one_in);
void fill_page(GuestMemory& memory, Gpa page, std::uint8_t value);
std::vector<std::byte> all_bytes(const GuestMemory& memory);
Result<std::vector<std::byte>> all_bytes(const SnapshotChain& chain, CheckChunks check);

SnapshotFacts sample_facts(Architecture architecture = Architecture::kToy);
// Saves with a fixed toy machine. `dirty` is for options.parent.
Result<WriteReport> save(FileSystem& file_system, const std::string& target,
                         const GuestMemory& memory, WriterOptions options = {},
                         const GpaRanges& dirty = {});
MachineState sample_machine();

// A directory of the host that is removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  TemporaryDirectory(TemporaryDirectory&&) = delete;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace stasis::snapshot
