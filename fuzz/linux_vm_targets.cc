#include "fuzz/linux_vm_targets.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/guest_memory.h"
#include "core/unique_fd.h"
#include "guests/linux/kernel/symbols.h"
#include "guests/linux/vm/byte_codec.h"
#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/program_image.h"
#include "guests/linux/vm/program_loader.h"
#include "guests/memory_layout.h"

namespace stasis::fuzz {

using namespace stasis::linux_guest;      // NOLINT(google-build-using-namespace)
using namespace stasis::linux_guest::vm;  // NOLINT(google-build-using-namespace)

namespace {

// Larger guests are decoded, but get no RAM here.
constexpr std::uint64_t kAttachedBytesMax = std::uint64_t{64} << 20U;
constexpr std::uint64_t kLoadedBytes = std::uint64_t{16} << 20U;
constexpr int kOperationsMax = 64;

// Bytes as a file.
class BytesFile final : public MappedFile {
 public:
  BytesFile(std::span<const std::byte> bytes, std::uint64_t snapshot_id)
      : bytes_(bytes), snapshot_id_(snapshot_id) {}
  [[nodiscard]] std::string path() const override { return "/file"; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t snapshot_id() const override { return snapshot_id_; }
  [[nodiscard]] SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) {
      return 0;
    }
    const auto piece = bytes_.subspan(offset, std::min(out.size(), bytes_.size() - offset));
    std::ranges::copy(piece, out.begin());
    return static_cast<SysResult>(piece.size());
  }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t snapshot_id_;
};

// Takes numbers from the input, and zeros behind its end.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : left_(bytes) {}
  [[nodiscard]] bool is_empty() const { return left_.empty(); }
  std::span<const std::byte> bytes(std::size_t count) {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() { return bytes(left_.size()); }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const auto taken = bytes(size);
    if (!taken.empty()) {
      std::memcpy(&value, taken.data(), taken.size());
    }
    return value;
  }

 private:
  std::span<const std::byte> left_;
};

std::vector<std::byte> encoded(const GuestAddressSpace& space) {
  ByteWriter out;
  space.encode(out);
  return std::move(out).take();
}

constexpr std::array<std::byte, 3 * kPageBytes + 100> kFileBytes = {};

std::shared_ptr<const MappedFile> find_file(std::uint64_t id) {
  return id % 4 == 3 ? nullptr : std::make_shared<BytesFile>(kFileBytes, id);
}

// Null if it is refused; `bytes` are not trusted.
std::unique_ptr<GuestAddressSpace> load(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  auto space = GuestAddressSpace::decode(reader);
  if (!space) {
    STASIS_CHECK(space.error().code == Errc::kCorruption);
    return nullptr;
  }
  if (!reader.is_whole()) {
    return nullptr;
  }
  if (const auto bound = (*space)->bind_files(find_file); !bound) {
    // An unknown file, or one of another kind than the bytes say.
    STASIS_CHECK(bound.error().code == Errc::kMismatch || bound.error().code == Errc::kCorruption);
    return nullptr;
  }
  return *std::move(space);
}

// Whatever has become of it can be saved, loaded, and saved again to the same bytes.
void check_round_trip(const GuestAddressSpace& space) {
  const std::vector<std::byte> saved = encoded(space);
  const auto again = load(saved);
  STASIS_CHECK(again != nullptr && encoded(*again) == saved);
}

// Near what is mapped, near the edges of user space, or anywhere.
std::uint64_t address(Input& input, const GuestAddressSpace& space) {
  const std::uint64_t kind = input.number(1);
  const std::uint64_t offset = input.number(3);
  const std::vector<Mapping> mappings = space.mappings();
  if (kind < 128 && !mappings.empty()) {
    return mappings[kind % mappings.size()].begin.value + offset - 4096;
  }
  switch (kind % 4) {
    case 0:
      return kUserSpaceEnd - offset;
    case 1:
      return UINT64_MAX - offset;
    case 2:
      return offset;
    default:
      return input.number(8);
  }
}

void change_mappings(Input& input, GuestAddressSpace& space, std::uint64_t what) {
  const std::uint64_t at = address(input, space);
  const std::uint64_t size = input.number(3);
  switch (what) {
    case 0: {
      MapRequest request;
      request.hint = {at};
      request.size_bytes = size;
      request.protection = static_cast<Protection>(input.number(1) % 8);
      request.placement = static_cast<MapRequest::Placement>(input.number(1) % 3);
      request.grows_down = input.number(1) % 8 == 7;
      if (input.number(1) % 2 == 1) {
        request.file = std::make_shared<BytesFile>(kFileBytes, 4);
        request.file_offset = input.number(1) * kPageBytes;
      }
      static_cast<void>(space.map(request));
      return;
    }
    case 1:
      static_cast<void>(space.unmap({at}, size));
      return;
    case 2:
      static_cast<void>(space.protect({at}, size, static_cast<Protection>(input.number(1) % 8)));
      return;
    case 3:
      static_cast<void>(
          space.remap({at}, size, input.number(3), input.number(1) % 8, {address(input, space)}));
      return;
    case 4:
      static_cast<void>(space.advise({at}, size, static_cast<int>(input.number(1))));
      return;
    default:
      static_cast<void>(space.set_break({at}));
  }
}

void touch(Input& input, GuestAddressSpace& space, GuestMemory& memory, std::uint64_t what) {
  std::array<std::byte, 64> buffer = {};
  switch (what) {
    case 0:
      static_cast<void>(
          space.resolve({address(input, space)}, static_cast<Access>(input.number(1) % 3)));
      return;
    case 1:
      static_cast<void>(space.read({address(input, space)}, buffer));
      return;
    case 2:
      static_cast<void>(space.write({address(input, space)}, buffer));
      return;
    default: {
      // Page tables of a damaged snapshot may say anything.
      const std::uint64_t word = input.number(8);
      const Gpa gpa{0x10000 + (input.number(3) & ~std::uint64_t{7})};
      static_cast<void>(memory.write_object(gpa, word).has_value());
    }
  }
}

// `layout_seed` 0, so that a crash repeats.
Result<LoadedProgram> load_from(const std::string& path, GuestAddressSpace& space) {
  ProgramRequest request;
  request.executable = path;
  request.arguments = {"program", "argument"};
  request.environment = {"NAME=value"};
  request.may_read = [](const std::string&) { return false; };
  return load_program(space, request);
}

std::unique_ptr<GuestMemory> make_memory(std::uint64_t bytes) {
  const auto regions = guests::guest_memory_regions(bytes, {.huge_pages = HugePages::kNever});
  STASIS_CHECK(regions.has_value());
  auto memory = GuestMemory::create(*regions, kPageBytes);
  STASIS_CHECK(memory.has_value());
  return *std::move(memory);
}

void check_image(const ProgramImage& image, std::uint64_t file_bytes) {
  STASIS_CHECK(!image.segments.empty() && std::has_single_bit(image.alignment));
  std::uint64_t free_from = 0;
  for (const ProgramSegment& segment : image.segments) {
    STASIS_CHECK(segment.address >= free_from && segment.file_bytes <= segment.memory_bytes);
    STASIS_CHECK(fits(segment.address, segment.memory_bytes, kUserSpaceEnd));
    STASIS_CHECK(fits(segment.offset, segment.file_bytes, file_bytes));
    STASIS_CHECK((segment.address - segment.offset) % kPageBytes == 0);
    free_from = align_up(segment.address + segment.memory_bytes, kPageBytes);
  }
  STASIS_CHECK(image.begin() < image.end() && image.end() <= kUserSpaceEnd);
}

}  // namespace

void address_space(std::span<const std::byte> bytes) {
  Input input(bytes);
  const std::uint64_t operation_bytes = input.number(2);
  Input operations(input.bytes(operation_bytes));
  const auto space = load(input.rest());
  if (space == nullptr) {
    return;
  }
  check_round_trip(*space);
  static_cast<void>(space->resident_bytes());
  if (space->total_bytes() > kAttachedBytesMax) {
    return;
  }
  const auto memory = make_memory(space->total_bytes());
  space->attach(*memory);
  for (int i = 0; i < kOperationsMax && !operations.is_empty(); ++i) {
    const std::uint64_t what = operations.number(1) % 10;
    if (what < 6) {
      change_mappings(operations, *space, what);
    } else {
      touch(operations, *space, *memory, what - 6);
    }
  }
  check_round_trip(*space);
}

void program_image(std::span<const std::byte> bytes) {
  const BytesFile file(bytes, 0);
  const auto image = read_program_image(file);
  if (!image) {
    const Errc code = image.error().code;
    STASIS_CHECK(code == Errc::kCorruption || code == Errc::kMismatch);
    return;
  }
  check_image(*image, bytes.size());
  const UniqueFd fd(::memfd_create("program", MFD_CLOEXEC));
  STASIS_CHECK(fd.is_open());
  STASIS_CHECK(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const auto memory = make_memory(kLoadedBytes);
  const auto space = GuestAddressSpace::create(kLoadedBytes);
  space->attach(*memory);
  space->write_system();
  const auto loaded = load_from("/proc/self/fd/" + std::to_string(fd.get()), *space);
  if (!loaded) {
    STASIS_CHECK(!loaded.error().message.empty());
    return;
  }
  STASIS_CHECK(loaded->registers.rsp % 16 == 0 && loaded->registers.rsp < kUserSpaceEnd);
  check_round_trip(*space);
}

void function_lookup(std::span<const std::byte> bytes) {
  Input input(bytes);
  const std::uint64_t offset = input.number(8);
  const BytesFile file(input.rest(), 0);
  if (const auto place = find_function(file, offset)) {
    STASIS_CHECK(!place->name.empty() && place->name.size() <= kFunctionNameMax);
    STASIS_CHECK(std::ranges::all_of(place->name, [](char c) { return c > ' ' && c <= '~'; }));
  }
}

}  // namespace stasis::fuzz
