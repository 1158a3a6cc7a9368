#include "guests/arm64_linux/linux_loader.h"

#include <libfdt.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/arm64_linux/memory_map.h"
#include "tests/guests/arm64_linux/kernel_file.h"
#include "tests/support/must.h"

namespace stasis::guests::arm64 {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20U;

class LinuxLoaderTest : public testing::Test {
 protected:
  LinuxLoaderTest() {
    for (const char c : {'0', '7', '0', '7', '0', '1'}) {
      initrd_.push_back(static_cast<std::byte>(c));
    }
    boot_.kernel = kernel_.bytes;
    boot_.initrd = initrd_;
    boot_.command_line = "quiet";
    boot_.vcpus = 3;
  }
  static std::unique_ptr<GuestMemory> make_memory(std::uint64_t size = 64 * kMib) {
    return must(GuestMemory::create(
        must(linux_memory_regions(size, {.huge_pages = HugePages::kNever})), 0x4000));
  }
  void expect_refused(Errc code, const std::string& because) {
    const auto memory = make_memory();
    const auto loaded = load_linux(boot_, *memory);
    ASSERT_FALSE(loaded) << because;
    EXPECT_EQ(loaded.error().code, code) << loaded.error().to_string();
    EXPECT_THAT(loaded.error().message, HasSubstr(because));
  }

  KernelFile kernel_{8192, 3 * kMib};
  std::vector<std::byte> initrd_;
  LinuxBoot boot_;
};

TEST_F(LinuxLoaderTest, TheFirstCpuBeginsInTheKernelWithTheDeviceTree) {
  const auto memory = make_memory();
  const auto vcpus = must(load_linux(boot_, *memory));
  ASSERT_EQ(vcpus.size(), 3U);
  const auto& first = std::get<Arm64VcpuState>(vcpus[0]);
  EXPECT_EQ(first.pc, kRam.value);
  EXPECT_EQ(first.pstate, 0x3c5U);
  EXPECT_EQ(first.power, Arm64PowerState::kOn);
  EXPECT_EQ(first.x[1] | first.x[2] | first.x[3], 0U);
  for (const std::size_t i : {1U, 2U}) {
    EXPECT_EQ(std::get<Arm64VcpuState>(vcpus[i]).power, Arm64PowerState::kOff);
  }
  std::vector<std::byte> tree(kDeviceTreeBytesMax);
  must(memory->read(Gpa{first.x[0]}, tree));
  EXPECT_EQ(fdt_check_header(tree.data()), 0);
  EXPECT_EQ(first.x[0] % (2 * kMib), 0U);
  std::vector<std::byte> kernel(kernel_.bytes.size());
  must(memory->read(kRam, kernel));
  EXPECT_EQ(kernel, kernel_.bytes);
  std::vector<std::byte> initrd(initrd_.size());
  must(memory->read(kRam + 4 * kMib, initrd));
  EXPECT_EQ(initrd, initrd_) << "behind the kernel's 3 MiB";
}

TEST_F(LinuxLoaderTest, WhatDoesNotFitIsNamedWithItsSize) {
  KernelFile large(8192, 63 * kMib);
  boot_.kernel = large.bytes;
  expect_refused(Errc::kOutOfRange, "63 MiB");
  boot_.kernel = kernel_.bytes;
  initrd_.resize(60 * kMib);
  boot_.initrd = initrd_;
  boot_.initrd_name = "big.cpio";
  expect_refused(Errc::kOutOfRange, "big.cpio: 60 MiB");
}

TEST_F(LinuxLoaderTest, AFileThatIsNoInitramfsIsRefused) {
  initrd_[5] = std::byte{'7'};
  boot_.initrd = initrd_;
  boot_.initrd_name = "rootfs.img";
  expect_refused(Errc::kInvalidArgument, "rootfs.img: neither a cpio archive");
  boot_.initrd = std::span(initrd_).first(3);
  expect_refused(Errc::kInvalidArgument, "not an initramfs");
}

TEST_F(LinuxLoaderTest, ACommandLineThatTheKernelWouldCutIsRefused) {
  boot_.command_line = std::string(2047, 'x');
  EXPECT_TRUE(load_linux(boot_, *make_memory()));
  boot_.command_line += "x";
  expect_refused(Errc::kInvalidArgument, "2048 bytes: at most 2047");
  boot_.command_line = std::string("a\0b", 3);
  expect_refused(Errc::kInvalidArgument, "NUL");
}

TEST_F(LinuxLoaderTest, SizesOfMemoryThatItCannotHaveAreNamed) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, 62 * kMib, 65 * kMib, 32 * 1024 * kMib + 2 * kMib}) {
    const auto refused = linux_memory_regions(size);
    ASSERT_FALSE(refused) << size;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("choose 64 MiB to 32 GiB"));
  }
}

TEST_F(LinuxLoaderTest, AffinitiesAreThoseOfTheBackend) {
  EXPECT_EQ(affinity_of_vcpu(15), 15U);
  EXPECT_EQ(affinity_of_vcpu(16), 0x100U);
}

}  // namespace
}  // namespace stasis::guests::arm64
