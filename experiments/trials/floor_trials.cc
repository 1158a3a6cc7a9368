#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/unique_fd.h"
#include "experiments/floor/bare_kvm.h"
#include "experiments/floor/floors.h"
#include "experiments/trials/trial_kinds.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kChunkBytes = std::uint64_t{64} << 10U;
constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20U;

double number(std::int64_t ns) {
  return static_cast<double>(ns);
}

Result<TrialReply> bare_kvm(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t bytes, request.number("memory_bytes", 0));
  STASIS_ASSIGN(const BareKvmTimes times, measure_bare_kvm(bytes));
  TrialReply reply;
  reply.metrics = {{"open_ns", number(times.open)},
                   {"memory_ns", number(times.memory)},
                   {"create_vm_ns", number(times.create_vm)},
                   {"slot_ns", number(times.slot)},
                   {"create_vcpu_ns", number(times.create_vcpu)},
                   {"registers_ns", number(times.registers)},
                   {"enter_ns", number(times.enter)},
                   {"first_instruction_ns", number(times.first_instruction)},
                   {"first_instruction_error_ns", number(times.error)}};
  return reply;
}

Result<TrialReply> pread_floor(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t block, request.number("block_bytes", kBlockBytes));
  STASIS_ASSIGN(const std::int64_t ns,
                pread_to_fresh_ns(request.text("path"), static_cast<std::size_t>(block)));
  TrialReply reply;
  reply.metrics["pread_ns"] = number(ns);
  return reply;
}

// A whole file in huge-page memory, and which parts of it hold data.
struct Image {
  FreshMemory memory;
  std::vector<FileSegment> segments;
  std::size_t data_bytes = 0;
};

Result<Image> load_image(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t size = fd.is_open() ? ::lseek(fd.get(), 0, SEEK_END) : -1;
  if (size <= 0) {
    return errno_error(errno, "read " + path);
  }
  STASIS_ASSIGN(FreshMemory memory,
                FreshMemory::map(Backing::kHugePages, static_cast<std::size_t>(size)));
  STASIS_ASSIGN(std::vector<FileSegment> segments, file_segments(path));
  std::size_t data_bytes = 0;
  for (const FileSegment& segment : segments) {
    data_bytes += segment.bytes;
    std::uint64_t done = 0;
    while (done < segment.bytes) {
      const std::size_t block = std::min<std::uint64_t>(kBlockBytes, segment.bytes - done);
      const ssize_t got = ::pread(fd.get(), &memory.bytes()[segment.offset + done], block,
                                  static_cast<off_t>(segment.offset + done));
      if (got <= 0) {
        return errno_error(got == 0 ? EIO : errno, "read " + path);
      }
      done += static_cast<std::uint64_t>(got);
    }
  }
  return Image{
      .memory = std::move(memory), .segments = std::move(segments), .data_bytes = data_bytes};
}

Result<TrialReply> lz4_floor(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t chunk, request.number("chunk_bytes", kChunkBytes));
  STASIS_ASSIGN(const Image image, load_image(request.text("path")));
  // Only what holds data: a restore does not decompress zero pages either. The parts are moved
  // together, which changes no byte that is compressed.
  std::vector<std::byte> data;
  data.reserve(image.data_bytes);
  for (const FileSegment& segment : image.segments) {
    const auto part = image.memory.bytes().subspan(segment.offset, segment.bytes);
    data.insert(data.end(), part.begin(), part.end());
  }
  const Lz4Image compressed = compress_chunks(data, static_cast<std::size_t>(chunk));
  STASIS_ASSIGN(const std::int64_t ns, decompress_to_fresh_ns(compressed, data));
  TrialReply reply;
  reply.metrics = {{"decompress_ns", number(ns)},
                   {"compress_ns", number(compressed.compress_ns)},
                   {"raw_bytes", static_cast<double>(compressed.raw_bytes)},
                   {"stored_bytes", static_cast<double>(compressed.stored_bytes)}};
  return reply;
}

Result<TrialReply> save_floor(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t chunk, request.number("chunk_bytes", kChunkBytes));
  STASIS_ASSIGN(const Image image, load_image(request.text("path")));
  // Zero pages of a live guest are memory that was read or written once, not holes.
  image.memory.touch_for_reading();
  std::size_t nonzero = 0;
  TrialReply reply;
  reply.metrics["zero_scan_ns"] = number(zero_scan_ns(image.memory.bytes(), nonzero));
  reply.metrics["scan_hash_ns"] =
      number(scan_and_hash_ns(image.memory.bytes(), static_cast<std::size_t>(chunk)));
  STASIS_ASSIGN(const WriteTimes times,
                write_file_ns(request.text("scratch"), image.memory.bytes(), image.segments));
  reply.metrics["write_ns"] = number(times.write);
  reply.metrics["write_sync_ns"] = number(times.write + times.sync);
  reply.metrics["slower_ns"] = std::max(reply.metrics["scan_hash_ns"], reply.metrics["write_ns"]);
  reply.metrics["slower_sync_ns"] =
      std::max(reply.metrics["scan_hash_ns"], reply.metrics["write_sync_ns"]);
  reply.metrics["nonzero_pages"] = static_cast<double>(nonzero);
  return reply;
}

// The floors that need no snapshot, by the name of their metric without its unit.
Result<std::int64_t> memory_floor_ns(const std::string& name, std::size_t bytes) {
  for (const Backing backing : {Backing::kSmallPages, Backing::kHugePages, Backing::kMemfd}) {
    if (name == "first_touch_" + std::string(name_of(backing))) {
      return first_touch_ns(backing, bytes);
    }
  }
  if (name == "memcpy") {
    return copy_ns(bytes);
  }
  STASIS_ASSIGN(const FreshMemory sample, FreshMemory::map(Backing::kHugePages, bytes));
  fill_with_sample(sample.bytes(), 1);
  if (name == "memcpy_to_fresh") {
    return copy_to_fresh_ns(sample.bytes());
  }
  if (name == "zero_scan") {
    std::size_t nonzero = 0;
    return zero_scan_ns(sample.bytes(), nonzero);
  }
  if (name == "xxh3") {
    return hash_ns(sample.bytes(), kChunkBytes);
  }
  const Lz4Image image = compress_chunks(sample.bytes(), kChunkBytes);
  if (name == "lz4_compress") {
    return image.compress_ns;
  }
  if (name == "lz4_decompress") {
    return decompress_to_fresh_ns(image, sample.bytes());
  }
  return Error{.code = Errc::kInvalidArgument, .message = "floor '" + name + "' is not known"};
}

Result<TrialReply> memory_floor(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t bytes, request.number("bytes", std::uint64_t{64} << 20U));
  const std::string name = request.text("only");
  STASIS_ASSIGN(const std::int64_t ns, memory_floor_ns(name, static_cast<std::size_t>(bytes)));
  TrialReply reply;
  reply.metrics = {{name + "_ns", number(ns)}, {"bytes", static_cast<double>(bytes)}};
  return reply;
}

}  // namespace

std::span<const TrialKind> floor_trials() {
  static constexpr std::array<TrialKind, 5> kKinds = {{{"floor_kvm", bare_kvm},
                                                       {"floor_pread", pread_floor},
                                                       {"floor_lz4", lz4_floor},
                                                       {"floor_save", save_floor},
                                                       {"floor_memory", memory_floor}}};
  return kKinds;
}

}  // namespace stasis::experiments
