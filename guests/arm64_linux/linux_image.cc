#include "guests/arm64_linux/linux_image.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "core/address.h"
#include "core/text.h"

namespace stasis::guests::arm64 {
namespace {

constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kTextOffset = 8, kImageSize = 16, kFlags = 24, kMagicOffset = 56;
constexpr std::string_view kMagic = "ARM\x64";
constexpr std::uint64_t kBigEndian = 1, kPageSize4K = 1;
constexpr std::uint64_t kPlacementUnit = std::uint64_t{2} << 20U;
constexpr std::uint64_t kImageBytesMax = std::uint64_t{1} << 30U;  // Many times of any known.

std::uint64_t load_le64(std::span<const std::byte> file, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value |= std::to_integer<std::uint64_t>(file[offset + i]) << (8 * i);
  }
  return value;
}

bool has(std::span<const std::byte> file, std::size_t offset, std::string_view text) {
  return fits(offset, text.size(), file.size()) &&
         std::ranges::equal(file.subspan(offset, text.size()), text,
                            [](std::byte a, char b) { return a == static_cast<std::byte>(b); });
}

Error other_form(const std::string& name, std::string_view what, std::string_view cure) {
  return Error{
      Errc::kMismatch, 0,
      name + ": " + std::string(what) + ", not an arm64 kernel image; " + std::string(cure)};
}

// What people mistake for one.
std::optional<Error> known_form(std::span<const std::byte> file, const std::string& name) {
  constexpr std::string_view kImageCure = "take the file Image of an arm64 build";
  if (has(file, 0x202, "HdrS")) {
    return other_form(name, "an x86 kernel (bzImage)", kImageCure);
  }
  if (has(file, 0, "\x1f\x8b")) {
    return other_form(name, "a file compressed by gzip", "decompress it with gunzip first");
  }
  if (has(file, 4, "zimg")) {
    return other_form(name, "a kernel that decompresses itself under EFI", kImageCure);
  }
  if (has(file, 0,
          "\x7f"
          "ELF")) {
    return other_form(name, "an ELF file (vmlinux)", kImageCure);
  }
  if (has(file, 36, "\x18\x28\x6f\x01")) {
    return other_form(name, "a kernel for 32-bit Arm (zImage)", kImageCure);
  }
  return std::nullopt;
}

}  // namespace

Result<LinuxImage> parse_linux_image(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kHeaderBytes || !has(file, kMagicOffset, kMagic)) {
    if (std::optional<Error> known = known_form(file, name)) {
      return *std::move(known);
    }
    return other_form(name, "a file without the magic number of one",
                      "take the file Image of an arm64 build");
  }
  const std::uint64_t flags = load_le64(file, kFlags);
  if ((flags & kBigEndian) != 0) {
    return Error{Errc::kMismatch, 0,
                 name + ": flags: a big-endian kernel; only little-endian ones run here"};
  }
  const std::uint64_t page_size = flags >> 1U & 3U;
  if (page_size > kPageSize4K) {
    return Error{Errc::kMismatch, 0,
                 name + ": flags: a kernel with pages of " +
                     (page_size == 2 ? std::string("16") : std::string("64")) +
                     " KiB; only 4 KiB is known to run on every host"};
  }
  const LinuxImage image{load_le64(file, kTextOffset), load_le64(file, kImageSize)};
  if (image.image_size == 0) {
    return Error{Errc::kMismatch, 0,
                 name +
                     ": image_size is 0: a kernel before Linux 3.17, which does not say where "
                     "it may lie; take a newer one"};
  }
  if (image.image_size < file.size() || image.image_size > kImageBytesMax) {
    return Error{Errc::kCorruption, 0,
                 name + ": image_size is " + std::to_string(image.image_size) +
                     " bytes, but the file has " + std::to_string(file.size()) +
                     " and a kernel at most " + std::to_string(kImageBytesMax)};
  }
  if (image.text_offset >= kPlacementUnit || !is_aligned(image.text_offset, 4096)) {
    return Error{
        Errc::kCorruption, 0,
        name + ": text_offset is " + hex(image.text_offset) + ", which is no page within 2 MiB"};
  }
  return image;
}

}  // namespace stasis::guests::arm64
