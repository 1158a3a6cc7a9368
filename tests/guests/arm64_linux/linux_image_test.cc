#include "guests/arm64_linux/linux_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/guests/arm64_linux/kernel_file.h"
#include "tests/support/must.h"

namespace stasis::guests::arm64 {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

void expect_refused(const KernelFile& file, Errc code, const std::string& because) {
  const auto image = parse_linux_image(file.bytes, "vmlinuz");
  ASSERT_FALSE(image) << because;
  EXPECT_EQ(image.error().code, code) << image.error().to_string();
  EXPECT_THAT(image.error().message, StartsWith("vmlinuz: "));
  EXPECT_THAT(image.error().message, HasSubstr(because));
}

TEST(LinuxImageTest, TheHeaderSaysWhereAKernelLies) {
  KernelFile file;
  file.set(8, 0x80000);
  const LinuxImage image = must(parse_linux_image(file.bytes, "Image"));
  EXPECT_EQ(image.text_offset, 0x80000U);
  EXPECT_EQ(image.image_size, 0x10000U);
}

TEST(LinuxImageTest, KernelsOfOtherMachinesAndFormsAreNamed) {
  KernelFile x86;
  x86.bytes.assign(8192, std::byte{0});
  x86.put(0x202, "HdrS");
  expect_refused(x86, Errc::kMismatch, "x86 kernel");
  KernelFile gzip;
  gzip.bytes.assign(8192, std::byte{0});
  gzip.put(0, "\x1f\x8b");
  expect_refused(gzip, Errc::kMismatch, "gunzip");
  KernelFile elf;
  elf.bytes.assign(8192, std::byte{0});
  elf.put(0,
          "\x7f"
          "ELF");
  expect_refused(elf, Errc::kMismatch, "vmlinux");
  KernelFile arm32;
  arm32.bytes.assign(8192, std::byte{0});
  arm32.put(36, "\x18\x28\x6f\x01");
  expect_refused(arm32, Errc::kMismatch, "32-bit");
  KernelFile efi;
  efi.bytes.assign(8192, std::byte{0});
  efi.put(4, "zimg");
  expect_refused(efi, Errc::kMismatch, "EFI");
  KernelFile nothing;
  nothing.bytes.assign(8192, std::byte{0});
  expect_refused(nothing, Errc::kMismatch, "magic");
  nothing.bytes.resize(63);
  expect_refused(nothing, Errc::kMismatch, "magic");
  nothing.bytes.clear();
  expect_refused(nothing, Errc::kMismatch, "magic");
}

TEST(LinuxImageTest, FlagsThatDoNotRunHereAreRefused) {
  KernelFile file;
  file.set(24, 0xb);
  expect_refused(file, Errc::kMismatch, "big-endian");
  file.set(24, 2U << 1U);
  expect_refused(file, Errc::kMismatch, "16 KiB");
  file.set(24, 3U << 1U);
  expect_refused(file, Errc::kMismatch, "64 KiB");
  file.set(24, 0);
  EXPECT_TRUE(parse_linux_image(file.bytes, "Image")) << "says nothing of its pages";
}

TEST(LinuxImageTest, SizesThatContradictEachOtherAreCorrupt) {
  expect_refused(KernelFile(8192, 0), Errc::kMismatch, "image_size is 0");
  expect_refused(KernelFile(8192, 8191), Errc::kCorruption, "image_size is 8191");
  expect_refused(KernelFile(8192, UINT64_MAX), Errc::kCorruption, "image_size");
  KernelFile file;
  file.set(8, 0x200000);
  expect_refused(file, Errc::kCorruption, "text_offset");
  file.set(8, 8);
  expect_refused(file, Errc::kCorruption, "text_offset");
}

}  // namespace
}  // namespace stasis::guests::arm64
