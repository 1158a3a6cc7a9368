#include "guests/arm64_linux/device_tree.h"

#include <libfdt.h>

#include <array>
#include <span>
#include <string_view>

#include "core/interrupt_controller.h"
#include "core/text.h"
#include "guests/arm64_linux/memory_map.h"

namespace stasis::guests::arm64 {
namespace {

constexpr std::uint32_t kGicHandle = 1, kClockHandle = 2;
// "interrupts" of a GIC: kind, number, flags.
constexpr std::uint32_t kSpi = 0, kPpi = 1, kLevelHigh = 4;

// libfdt's sequential writer with the first error kept: each call does nothing after one.
class TreeWriter {
 public:
  explicit TreeWriter(std::size_t bytes_max) : blob_(bytes_max) {
    then([&] { return ::fdt_create(blob_.data(), static_cast<int>(blob_.size())); });
    then([&] { return ::fdt_finish_reservemap(blob_.data()); });
  }

  void begin(const std::string& name) {
    then([&] { return ::fdt_begin_node(blob_.data(), name.c_str()); });
  }
  void end() {
    then([&] { return ::fdt_end_node(blob_.data()); });
  }
  void text(const char* name, std::string_view value) {
    bytes(name, std::as_bytes(std::span(std::string(value).c_str(), value.size() + 1)));
  }
  // Each ends with a zero byte.
  void texts(const char* name, std::initializer_list<std::string_view> values) {
    std::string all;
    for (const std::string_view value : values) {
      all.append(value).push_back('\0');
    }
    bytes(name, std::as_bytes(std::span(all)));
  }
  void cells(const char* name, std::initializer_list<std::uint32_t> values) {
    std::vector<std::byte> big_endian;
    for (const std::uint32_t value : values) {
      for (std::uint32_t shift = 32; shift > 0; shift -= 8) {
        big_endian.push_back(static_cast<std::byte>(value >> (shift - 8) & 0xffU));
      }
    }
    bytes(name, big_endian);
  }
  void wide(const char* name, std::uint64_t value) { cells(name, {high(value), low(value)}); }
  void range(const char* name, std::uint64_t begin, std::uint64_t size) {
    cells(name, {high(begin), low(begin), high(size), low(size)});
  }
  void flag(const char* name) { bytes(name, {}); }
  void bytes(const char* name, std::span<const std::byte> value) {
    then([&] {
      return ::fdt_property(blob_.data(), name, value.data(), static_cast<int>(value.size()));
    });
  }

  Result<std::vector<std::byte>> finish() {
    then([&] { return ::fdt_finish(blob_.data()); });
    if (error_ == -FDT_ERR_NOSPACE) {
      return Error{Errc::kOutOfRange, 0,
                   "the guest's device tree does not fit into " + std::to_string(blob_.size()) +
                       " bytes: shorten the kernel's command line, or take fewer devices"};
    }
    STASIS_CHECK(error_ == 0);              // What else can go wrong is a mistake of this file.
    const void* const tree = blob_.data();  // The macro casts.
    blob_.resize(fdt_totalsize(tree));
    return std::move(blob_);
  }

  static std::uint32_t high(std::uint64_t value) {
    return static_cast<std::uint32_t>(value >> 32U);
  }
  static std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

 private:
  template <typename Call>
  void then(const Call& call) {
    if (error_ == 0) {
      const int code = call();
      error_ = code < 0 ? code : 0;
    }
  }

  std::vector<std::byte> blob_;
  int error_ = 0;
};

void write_chosen(TreeWriter& tree, const MachineDescription& machine) {
  tree.begin("chosen");
  tree.text("bootargs", machine.command_line);
  tree.text("stdout-path", "/pl011@" + hex(kConsole).substr(2));
  if (machine.initrd.has_value()) {
    tree.wide("linux,initrd-start", machine.initrd->begin.value);
    tree.wide("linux,initrd-end", machine.initrd->end().value);
  }
  if (!machine.seed.empty()) {
    tree.bytes("rng-seed", machine.seed);
  }
  tree.end();
}

void write_cpus(TreeWriter& tree, const std::vector<std::uint64_t>& affinities) {
  tree.begin("cpus");
  tree.cells("#address-cells", {2});
  tree.cells("#size-cells", {0});
  for (const std::uint64_t affinity : affinities) {
    tree.begin("cpu@" + hex(affinity).substr(2));
    tree.text("device_type", "cpu");
    tree.text("compatible", "arm,armv8");
    tree.text("enable-method", "psci");
    tree.wide("reg", affinity);
    tree.end();
  }
  tree.end();
  tree.begin("psci");
  tree.texts("compatible", {"arm,psci-1.0", "arm,psci-0.2"});
  tree.text("method", "hvc");
  tree.end();
}

void write_interrupts(TreeWriter& tree, std::size_t cpus) {
  tree.begin("intc@" + hex(kGicDistributor.value).substr(2));
  tree.text("compatible", "arm,gic-v3");
  tree.cells("#interrupt-cells", {3});
  tree.flag("interrupt-controller");
  const std::uint64_t redistributors = kGicRedistributorBytes * cpus;
  tree.cells("reg",
             {TreeWriter::high(kGicDistributor.value), TreeWriter::low(kGicDistributor.value), 0,
              TreeWriter::low(kGicDistributorBytes), TreeWriter::high(kGicRedistributors.value),
              TreeWriter::low(kGicRedistributors.value), TreeWriter::high(redistributors),
              TreeWriter::low(redistributors)});
  tree.cells("phandle", {kGicHandle});
  tree.end();
  // Secure, non-secure and virtual timer, and the hypervisor's: a guest at EL1 takes the third.
  tree.begin("timer");
  tree.text("compatible", "arm,armv8-timer");
  tree.flag("always-on");
  tree.cells("interrupts", {kPpi, 13, kLevelHigh, kPpi, 14, kLevelHigh, kPpi, 11, kLevelHigh, kPpi,
                            10, kLevelHigh});
  tree.end();
}

void write_uart(TreeWriter& tree, std::uint64_t address, std::uint32_t line) {
  tree.begin("pl011@" + hex(address).substr(2));
  tree.texts("compatible", {"arm,pl011", "arm,primecell"});
  tree.range("reg", address, kUartBytes);
  tree.cells("interrupts", {kSpi, line, kLevelHigh});
  tree.cells("clocks", {kClockHandle, kClockHandle});
  tree.texts("clock-names", {"uartclk", "apb_pclk"});
  tree.end();
}

void write_devices(TreeWriter& tree, std::uint32_t virtio_devices) {
  tree.begin("apb-pclk");
  tree.text("compatible", "fixed-clock");
  tree.cells("#clock-cells", {0});
  tree.cells("clock-frequency", {24'000'000});
  tree.text("clock-output-names", "clk24mhz");
  tree.cells("phandle", {kClockHandle});
  tree.end();
  write_uart(tree, kConsole, kConsoleLine);
  write_uart(tree, kRequests, kRequestsLine);
  for (std::uint32_t i = 0; i < virtio_devices; ++i) {
    const std::uint64_t address = kVirtio + kVirtioBytes * i;
    tree.begin("virtio_mmio@" + hex(address).substr(2));
    tree.text("compatible", "virtio,mmio");
    tree.range("reg", address, kVirtioBytes);
    tree.cells("interrupts", {kSpi, kVirtioLine + i, kLevelHigh});
    tree.flag("dma-coherent");
    tree.end();
  }
}

}  // namespace

Result<std::vector<std::byte>> make_device_tree(const MachineDescription& machine,
                                                std::size_t bytes_max) {
  TreeWriter tree(bytes_max);
  tree.begin("");
  tree.cells("#address-cells", {2});
  tree.cells("#size-cells", {2});
  tree.cells("interrupt-parent", {kGicHandle});
  tree.text("compatible", "linux,dummy-virt");
  tree.text("model", "stasis");
  tree.begin("aliases");
  tree.text("serial0", "/pl011@" + hex(kConsole).substr(2));
  tree.text("serial1", "/pl011@" + hex(kRequests).substr(2));
  tree.end();
  write_chosen(tree, machine);
  tree.begin("memory@" + hex(machine.ram.begin.value).substr(2));
  tree.text("device_type", "memory");
  tree.range("reg", machine.ram.begin.value, machine.ram.size);
  tree.end();
  write_cpus(tree, machine.cpus);
  write_interrupts(tree, machine.cpus.size());
  write_devices(tree, machine.virtio_devices);
  tree.end();
  return tree.finish();
}

}  // namespace stasis::guests::arm64
