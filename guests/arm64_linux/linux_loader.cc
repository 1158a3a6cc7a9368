#include "guests/arm64_linux/linux_loader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "core/address.h"
#include "core/text.h"
#include "guests/arm64_linux/device_tree.h"
#include "guests/arm64_linux/linux_image.h"
#include "guests/arm64_linux/memory_map.h"

namespace stasis::guests::arm64 {
namespace {

constexpr std::uint64_t kEl1Masked = 0x3c5;  // PSTATE: EL1h, D, A, I and F masked.
constexpr std::uint64_t kUnitBytes = std::uint64_t{2} << 20U;

struct Placement {
  GpaRange kernel, initrd, device_tree;
};

Error bad_size(std::uint64_t size_bytes, const std::string& cause) {
  return Error{Errc::kInvalidArgument, 0,
               "memory of " + describe_bytes(size_bytes) + " for an arm64 Linux guest: " + cause +
                   "; choose " + describe_bytes(kRamBytesMin) + " to " +
                   describe_bytes(kRamBytesMax)};
}

// What the kernel can unpack, by how it begins (Linux, init/initramfs.c and lib/decompress.c).
bool is_initramfs(std::span<const std::byte> file) {
  constexpr std::array<std::string_view, 8> kBeginnings = {"070701",
                                                           "070702",
                                                           "\x1f\x8b",
                                                           "\xfd"
                                                           "7zXZ",
                                                           "\x5d",
                                                           "\x28\xb5\x2f\xfd",
                                                           "\x89LZO",
                                                           "\x02\x21\x4c\x18"};
  return std::ranges::any_of(kBeginnings, [file](std::string_view text) {
    return file.size() >= text.size() &&
           std::ranges::equal(file.first(text.size()), text, [](std::byte a, char b) {
             return a == static_cast<std::byte>(static_cast<unsigned char>(b));
           });
  });
}

Result<void> check_texts(const LinuxBoot& boot) {
  if (boot.command_line.size() > LinuxBoot::kCommandLineBytesMax) {
    return Error{Errc::kInvalidArgument, 0,
                 "a kernel command line of " + std::to_string(boot.command_line.size()) +
                     " bytes: at most " + std::to_string(LinuxBoot::kCommandLineBytesMax)};
  }
  if (boot.command_line.find('\0') != std::string::npos) {
    return Error{Errc::kInvalidArgument, 0, "a kernel command line with a NUL byte; remove it"};
  }
  if (!boot.initrd.empty() && !is_initramfs(boot.initrd)) {
    return Error{Errc::kInvalidArgument, 0,
                 boot.initrd_name +
                     ": neither a cpio archive (newc) nor a compressed one: not an initramfs"};
  }
  return {};
}

Result<Placement> place(const LinuxBoot& boot, const LinuxImage& image, GpaRange ram) {
  Placement at;
  at.device_tree = {Gpa{ram.end().value - kUnitBytes}, kDeviceTreeBytesMax};
  const std::uint64_t room = at.device_tree.begin.value - ram.begin.value;
  if (!fits(image.text_offset, image.image_size, room)) {
    return Error{Errc::kOutOfRange, 0,
                 boot.kernel_name + ": the kernel takes " + describe_bytes(image.image_size) +
                     " of the guest's " + describe_bytes(ram.size) +
                     "; give the guest more memory (--memory)"};
  }
  at.kernel = {ram.begin + image.text_offset, image.image_size};
  const std::uint64_t behind = align_up(image.text_offset + image.image_size, kUnitBytes);
  if (!fits(behind, boot.initrd.size(), room)) {
    return Error{Errc::kOutOfRange, 0,
                 boot.initrd_name + ": " + describe_bytes(boot.initrd.size()) +
                     " do not fit into the guest's " + describe_bytes(ram.size) +
                     " beside the kernel's " + describe_bytes(behind) +
                     "; give the guest more memory (--memory)"};
  }
  at.initrd = {ram.begin + behind, boot.initrd.size()};
  return at;
}

VcpuState vcpu_state(std::uint32_t index, const Placement& at) {
  Arm64VcpuState state;
  state.pstate = kEl1Masked;
  if (index == 0) {
    state.pc = at.kernel.begin.value;
    state.x[0] = at.device_tree.begin.value;
  } else {
    state.power = Arm64PowerState::kOff;
  }
  return state;
}

}  // namespace

Result<std::vector<RegionSpec>> linux_memory_regions(std::uint64_t size_bytes,
                                                     const MemoryOptions& options) {
  if (size_bytes < kRamBytesMin || size_bytes > kRamBytesMax) {
    return bad_size(size_bytes, size_bytes < kRamBytesMin ? "too little" : "too much");
  }
  if (!is_aligned(size_bytes, kRamUnitBytes)) {
    return bad_size(size_bytes, "not a multiple of " + describe_bytes(kRamUnitBytes));
  }
  return std::vector<RegionSpec>{RegionSpec{
      .range = {kRam, size_bytes}, .backing = options.backing, .huge_pages = options.huge_pages}};
}

Result<std::vector<VcpuState>> load_linux(const LinuxBoot& boot, GuestMemory& memory) {
  STASIS_TRY(check_texts(boot));
  STASIS_ASSIGN(const LinuxImage image, parse_linux_image(boot.kernel, boot.kernel_name));
  const GpaRange ram = memory.regions()[0].range;
  STASIS_ASSIGN(const Placement at, place(boot, image, ram));
  MachineDescription description{.ram = ram,
                                 .cpus = {},
                                 .command_line = boot.command_line,
                                 .seed = boot.seed,
                                 .virtio_devices = boot.virtio_devices};
  if (!boot.initrd.empty()) {
    description.initrd = at.initrd;
  }
  for (std::uint32_t i = 0; i < boot.vcpus; ++i) {
    description.cpus.push_back(affinity_of_vcpu(i));
  }
  STASIS_ASSIGN(const std::vector<std::byte> tree,
                make_device_tree(description, at.device_tree.size));
  STASIS_TRY(memory.write(at.kernel.begin, boot.kernel));
  STASIS_TRY(memory.write(at.initrd.begin, boot.initrd));
  STASIS_TRY(memory.write(at.device_tree.begin, tree));
  std::vector<VcpuState> vcpus;
  for (std::uint32_t i = 0; i < boot.vcpus; ++i) {
    vcpus.push_back(vcpu_state(i, at));
  }
  return vcpus;
}

}  // namespace stasis::guests::arm64
