// The parsers of guests/: what a guest's author gives, and what a snapshot says of its doorbell.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "core/check.h"
#include "core/guest_memory.h"
#include "fuzz/targets.h"
#include "guests/abi.h"
#include "guests/doorbell_state.h"
#include "guests/elf_image.h"
#include "guests/loader.h"
#include "guests/memory_layout.h"

namespace stasis::fuzz {

using namespace stasis::guests;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::uint64_t kFileHeaderBytes = 64, kProgramHeaderBytes = 56;
constexpr std::uint64_t kGuestBytes = 8 * abi::kMiB;

template <typename T>
void put(std::vector<std::byte>& out, std::uint64_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof(value));
}

// The plainest file with these segments: ELF-64 object format 1.5, figures 2 and 6.
std::vector<std::byte> write_elf(const ElfImage& image) {
  const std::uint64_t headers = kFileHeaderBytes + kProgramHeaderBytes * image.segments.size();
  std::vector<std::byte> out(headers);
  constexpr std::array<std::uint8_t, 7> kIdent = {0x7f, 'E', 'L', 'F', 2, 1, 1};
  std::memcpy(out.data(), kIdent.data(), kIdent.size());
  put<std::uint16_t>(out, 16, 2);  // An executable.
  put<std::uint16_t>(out, 18, image.architecture == Architecture::kX86_64 ? 62 : 183);
  put<std::uint32_t>(out, 20, 1);
  put<std::uint64_t>(out, 24, image.entry.value);
  put<std::uint64_t>(out, 32, kFileHeaderBytes);
  put<std::uint16_t>(out, 52, kFileHeaderBytes);
  put<std::uint16_t>(out, 54, kProgramHeaderBytes);
  put(out, 56, static_cast<std::uint16_t>(image.segments.size()));
  for (std::size_t i = 0; i < image.segments.size(); ++i) {
    const ElfSegment& segment = image.segments[i];
    const std::uint64_t at = kFileHeaderBytes + kProgramHeaderBytes * i;
    put<std::uint32_t>(out, at, 1);      // PT_LOAD.
    put<std::uint32_t>(out, at + 4, 7);  // The image does not keep which ones are executable.
    put<std::uint64_t>(out, at + 8, out.size());
    put(out, at + 16, segment.range.begin.value);
    put(out, at + 24, segment.range.begin.value);
    put<std::uint64_t>(out, at + 32, segment.file.size());
    put(out, at + 40, segment.range.size);
    out.insert(out.end(), segment.file.begin(), segment.file.end());
  }
  return out;
}

void check_image(const ElfImage& image, std::span<const std::byte> input) {
  STASIS_CHECK(!image.segments.empty() && image.segments.size() <= kElfSegmentsMax);
  const ElfSegment* before = nullptr;
  bool holds_entry = false;
  for (const ElfSegment& segment : image.segments) {
    STASIS_CHECK(make_range(segment.range.begin, segment.range.size).has_value());
    STASIS_CHECK(segment.range.size > 0 && segment.file.size() <= segment.range.size);
    STASIS_CHECK(segment.file.empty() ||
                 (segment.file.data() >= input.data() &&
                  segment.file.data() + segment.file.size() <= input.data() + input.size()));
    STASIS_CHECK(before == nullptr || before->range.end() <= segment.range.begin);
    holds_entry = holds_entry || segment.range.contains(image.entry);
    before = &segment;
  }
  STASIS_CHECK(holds_entry);
}

// What is loaded is what the file says, and the rest of each segment is zero.
void check_loaded(const ElfImage& image, GuestMemory& memory) {
  for (const ElfSegment& segment : image.segments) {
    const auto bytes = memory.view(segment.range);
    STASIS_CHECK(bytes.has_value());
    STASIS_CHECK(std::equal(segment.file.begin(), segment.file.end(), bytes->begin()));
    const auto rest = bytes->subspan(segment.file.size());
    STASIS_CHECK(
        std::all_of(rest.begin(), rest.end(), [](std::byte byte) { return byte == std::byte{0}; }));
  }
}

bool blames_the_file(Errc code) {
  return code == Errc::kCorruption || code == Errc::kMismatch || code == Errc::kOutOfRange;
}

}  // namespace

void elf_image(std::span<const std::byte> input) {
  const auto image = parse_elf(input, "guest");
  if (!image) {
    STASIS_CHECK(blames_the_file(image.error().code));
    return;
  }
  check_image(*image, input);
  const std::vector<std::byte> written = write_elf(*image);
  const auto again = parse_elf(written, "guest");
  STASIS_CHECK(again.has_value() && again->entry == image->entry &&
               again->architecture == image->architecture);
  STASIS_CHECK(std::equal(again->segments.begin(), again->segments.end(), image->segments.begin(),
                          image->segments.end(), [](const ElfSegment& a, const ElfSegment& b) {
                            return a.range == b.range && std::equal(a.file.begin(), a.file.end(),
                                                                    b.file.begin(), b.file.end());
                          }));
  const auto regions = guest_memory_regions(kGuestBytes, {.huge_pages = HugePages::kNever});
  STASIS_CHECK(regions.has_value());
  const auto memory = GuestMemory::create(*regions, 4096);
  STASIS_CHECK(memory.has_value());
  if (const auto loaded = load_guest(input, **memory, {})) {
    check_loaded(*image, **memory);
  } else {
    STASIS_CHECK(blames_the_file(loaded.error().code) ||
                 loaded.error().code == Errc::kNotSupported);
  }
}

void doorbell_state(std::span<const std::byte> input) {
  const auto state = decode_doorbell_state(input);
  if (!state) {
    STASIS_CHECK(state.error().code == Errc::kCorruption);
    return;
  }
  // The encoding has no slack: what is accepted is what would have been written.
  const std::vector<std::byte> encoded = encode_doorbell_state(*state);
  STASIS_CHECK(std::equal(encoded.begin(), encoded.end(), input.begin(), input.end()));
}

}  // namespace stasis::fuzz
