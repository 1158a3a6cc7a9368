// The device tree as another reader of the format sees it.
#include "guests/arm64_linux/device_tree.h"

#include <libfdt.h>

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::guests::arm64 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Tree {
 public:
  explicit Tree(std::vector<std::byte> blob) : blob_(std::move(blob)) {
    EXPECT_EQ(fdt_check_full(blob_.data(), blob_.size()), 0);
  }
  [[nodiscard]] std::string text(const char* path, const char* name) const {
    int size = 0;
    const void* const value = property(path, name, size);
    return value == nullptr ? "none" : std::string(static_cast<const char*>(value));
  }
  [[nodiscard]] std::vector<std::uint32_t> cells(const char* path, const char* name) const {
    int size = 0;
    const void* const value = property(path, name, size);
    std::vector<std::uint32_t> found;
    for (int i = 0; value != nullptr && i < size / 4; ++i) {
      found.push_back(fdt32_ld(static_cast<const fdt32_t*>(value) + i));
    }
    return found;
  }
  [[nodiscard]] bool has(const char* path) const {
    return fdt_path_offset(blob_.data(), path) >= 0;
  }

 private:
  const void* property(const char* path, const char* name, int& size) const {
    const int node = fdt_path_offset(blob_.data(), path);
    return node < 0 ? nullptr : fdt_getprop(blob_.data(), node, name, &size);
  }
  std::vector<std::byte> blob_;
};

MachineDescription machine() {
  return {.ram = {Gpa{0x40000000}, 0x120000000},
          .cpus = {0, 1, 0x100},
          .command_line = "console=ttyAMA0 a=\"b c\"",
          .initrd = GpaRange{Gpa{0x42000000}, 0x12345},
          .seed = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}},
          .virtio_devices = 2};
}

TEST(DeviceTreeTest, TheKernelFindsItsMachine) {
  const Tree tree(must(make_device_tree(machine(), 65536)));
  EXPECT_EQ(tree.text("/chosen", "bootargs"), "console=ttyAMA0 a=\"b c\"");
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-start"), ElementsAre(0, 0x42000000));
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-end"), ElementsAre(0, 0x42012345));
  EXPECT_THAT(tree.cells("/chosen", "rng-seed"), ElementsAre(0x01020304));
  EXPECT_EQ(tree.text("/chosen", "stdout-path"), "/pl011@9000000");
  EXPECT_THAT(tree.cells("/memory@40000000", "reg"), ElementsAre(0, 0x40000000, 1, 0x20000000));
  EXPECT_THAT(tree.cells("/cpus/cpu@100", "reg"), ElementsAre(0, 0x100));
  EXPECT_EQ(tree.text("/cpus/cpu@1", "enable-method"), "psci");
  EXPECT_FALSE(tree.has("/cpus/cpu@2"));
  EXPECT_EQ(tree.text("/psci", "method"), "hvc");
  EXPECT_EQ(tree.text("/intc@8000000", "compatible"), "arm,gic-v3");
  EXPECT_THAT(tree.cells("/intc@8000000", "reg"),
              ElementsAre(0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0, 3 * 0x20000));
  EXPECT_THAT(tree.cells("/", "interrupt-parent"), tree.cells("/intc@8000000", "phandle"));
  EXPECT_THAT(tree.cells("/timer", "interrupts"), testing::Contains(11)) << "INTID 27";
  EXPECT_THAT(tree.cells("/pl011@9000000", "interrupts"), ElementsAre(0, 1, 4));
  EXPECT_THAT(tree.cells("/pl011@9010000", "interrupts"), ElementsAre(0, 2, 4));
  EXPECT_EQ(tree.text("/aliases", "serial1"), "/pl011@9010000");
  EXPECT_THAT(tree.cells("/virtio_mmio@a000200", "reg"), ElementsAre(0, 0x0a000200, 0, 0x200));
  EXPECT_THAT(tree.cells("/virtio_mmio@a000200", "interrupts"), ElementsAre(0, 17, 4));
}

TEST(DeviceTreeTest, WhatThereIsNotIsNotInIt) {
  MachineDescription small = machine();
  small.initrd.reset();
  small.seed.clear();
  small.virtio_devices = 0;
  const Tree tree(must(make_device_tree(small, 65536)));
  EXPECT_THAT(tree.cells("/chosen", "linux,initrd-start"), ElementsAre());
  EXPECT_THAT(tree.cells("/chosen", "rng-seed"), ElementsAre());
  EXPECT_FALSE(tree.has("/virtio_mmio@a000000"));
}

TEST(DeviceTreeTest, OneThatDoesNotFitSaysSoAtEverySize) {
  const std::size_t needed = must(make_device_tree(machine(), 65536)).size();
  for (const std::size_t size : {std::size_t{0}, std::size_t{16}, std::size_t{100}, needed / 2}) {
    const auto refused = make_device_tree(machine(), size);
    ASSERT_FALSE(refused) << size;
    EXPECT_EQ(refused.error().code, Errc::kOutOfRange);
    EXPECT_THAT(refused.error().message, HasSubstr("command line"));
  }
}

}  // namespace
}  // namespace stasis::guests::arm64
