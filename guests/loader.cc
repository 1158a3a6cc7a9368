#include "guests/loader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/text.h"
#include "guests/abi.h"
#include "guests/elf_image.h"
#include "guests/x86_boot.h"

namespace stasis::guests {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

Error invalid(std::string message) {
  return Error{.code = Errc::kInvalidArgument, .message = std::move(message)};
}

Result<void> check_options(const LoadOptions& options) {
  if (options.vcpus == 0 || options.vcpus > abi::kVcpusMax) {
    return invalid(options.name + ": " + std::to_string(options.vcpus) +
                   " vCPUs; a bare guest has 1 to " + std::to_string(abi::kVcpusMax));
  }
  if (options.arguments.size() >= abi::kArgumentBytesMax) {
    return invalid(options.name + ": arguments of " + std::to_string(options.arguments.size()) +
                   " bytes; at most " + std::to_string(abi::kArgumentBytesMax - 1) +
                   " fit into the boot information, send the rest as a request");
  }
  if (options.arguments.find('\0') != std::string::npos) {
    return invalid(options.name + ": arguments with a NUL byte; remove it");
  }
  return {};
}

Result<void> check_memory(const GuestMemory& memory, const std::string& name) {
  const auto regions = memory.regions();
  const std::uint64_t low_bytes = regions.empty() ? 0 : regions[0].range.size;
  const bool low_is_right = !regions.empty() && regions[0].range.begin == Gpa{0} &&
                            low_bytes >= abi::kMemoryBytesMin && low_bytes <= abi::kLowMemoryEnd &&
                            is_aligned(low_bytes, abi::kMemoryUnitBytes);
  const bool high_is_right =
      regions.size() == 1 ||
      (regions.size() == 2 && regions[1].range.begin == Gpa{abi::kHighMemoryBegin} &&
       is_aligned(regions[1].range.size, abi::kMemoryUnitBytes) &&
       memory.size_bytes() <= abi::kMemoryBytesMax);
  if (!low_is_right || !high_is_right) {
    return invalid(name +
                   ": guest memory has not the layout of a bare guest; make it with "
                   "guest_memory_regions()");
  }
  return {};
}

Result<void> check_placement(const ElfImage& image, const GuestMemory& memory,
                             const std::string& name) {
  const GpaRange low = memory.regions()[0].range;
  for (const ElfSegment& segment : image.segments) {
    const std::string what = name + ": p_paddr: the segment from " +
                             hex(segment.range.begin.value) + " to " +
                             hex(segment.range.end().value);
    if (segment.range.begin.value < abi::kImageAddress) {
      return Error{.code = Errc::kOutOfRange,
                   .message = what + " lies in the reserved area below " + hex(abi::kImageAddress) +
                              "; link it with guests/runtime/guest.ld"};
    }
    if (segment.range.end() > low.end()) {
      return Error{.code = Errc::kOutOfRange,
                   .message = what + " lies outside guest memory, which ends at " +
                              hex(low.end().value) + "; give the guest more memory"};
    }
  }
  return {};
}

abi::AddressRange to_abi(GpaRange range) {
  return {.begin = range.begin.value, .end = range.end().value};
}

abi::BootInfo make_boot_info(const GuestMemory& memory, const LoadOptions& options,
                             const LoadedGuest& guest) {
  abi::BootInfo info;
  info.vcpu_count = options.vcpus;
  const auto regions = memory.regions();
  info.memory_range_count = static_cast<std::uint32_t>(regions.size());
  info.heap[0] = to_abi(guest.heap);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    info.memory[i] = to_abi(regions[i].range);
    if (i > 0) {
      info.heap[i] = info.memory[i];
    }
  }
  info.image = to_abi(guest.image);
  info.counter_khz = options.counter_khz;
  const X86Features features = x86_features(options.cpu_features);
  info.cpu_flags = (features.avx ? std::uint64_t{abi::kCpuAvx} : 0) |
                   (features.avx512 ? std::uint64_t{abi::kCpuAvx512} : 0);
  info.argument_bytes = static_cast<std::uint32_t>(options.arguments.size());
  std::copy(options.arguments.begin(), options.arguments.end(), info.arguments);
  return info;
}

}  // namespace

Result<LoadedGuest> load_guest(std::span<const std::byte> image, GuestMemory& memory,
                               const LoadOptions& options) {
  STASIS_TRY(check_options(options));
  STASIS_ASSIGN(const ElfImage elf, parse_elf(image, options.name));
  if (elf.architecture != Architecture::kX86_64) {
    return Error{.code = Errc::kNotSupported,
                 .message = options.name +
                            ": e_machine: an arm64 guest, for which there is no loader yet; build "
                            "the guest for x86-64"};
  }
  STASIS_TRY(check_memory(memory, options.name));
  STASIS_TRY(check_placement(elf, memory, options.name));

  LoadedGuest guest{.architecture = elf.architecture, .vcpus = {}, .entry = elf.entry};
  const GpaRange low = memory.regions()[0].range;
  const std::uint64_t image_begin = align_down(elf.extent().begin.value, kPageBytes);
  const std::uint64_t image_end = align_up(elf.extent().end().value, kPageBytes);
  guest.image = GpaRange{Gpa{image_begin}, image_end - image_begin};
  guest.heap = GpaRange{Gpa{image_end}, low.end().value - image_end};

  for (const ElfSegment& segment : elf.segments) {
    STASIS_TRY(memory.write(segment.range.begin, segment.file));
  }
  STASIS_TRY(write_x86_system(memory, options.vcpus));
  STASIS_TRY(
      memory.write_object(Gpa{abi::kBootInfoAddress}, make_boot_info(memory, options, guest)));
  const X86Features features = x86_features(options.cpu_features);
  for (std::uint32_t vcpu = 0; vcpu < options.vcpus; ++vcpu) {
    guest.vcpus.emplace_back(x86_start_state(elf.entry, vcpu, features));
  }
  return guest;
}

Result<MachineState> initial_machine_state(const LoadedGuest& guest, const DeviceBus& bus) {
  MachineState state;
  state.vcpus = guest.vcpus;
  state.activities.assign(guest.vcpus.size(), VcpuActivity::kRunning);
  state.wake_pending.assign(guest.vcpus.size(), false);
  for (const Device* device : bus.devices()) {
    STASIS_ASSIGN(DeviceState saved, device->save_state());
    state.devices.push_back(std::move(saved));
  }
  return state;
}

}  // namespace stasis::guests
