#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <memory>

#include "guests/linux/files/special_files.h"
#include "guests/linux/kernel/system_files.h"

namespace stasis::linux_guest {
namespace {

struct MemoryDevice {
  const char* path;
  DeviceKind kind;
  unsigned minor;  // Of major 1 (Documentation/admin-guide/devices.txt).
};

}  // namespace

void add_device_files(Process& process) {
  Vfs& vfs = *process.vfs;
  for (const MemoryDevice& device : {MemoryDevice{"/dev/null", DeviceKind::kNull, 3},
                                     {"/dev/zero", DeviceKind::kZero, 5},
                                     {"/dev/full", DeviceKind::kFull, 7},
                                     {"/dev/random", DeviceKind::kRandom, 8},
                                     {"/dev/urandom", DeviceKind::kRandom, 9}}) {
    const std::uint64_t number = makedev(1, device.minor);
    SyntheticEntry entry;
    entry.mode = S_IFCHR | 0666U;
    entry.special_device = number;
    entry.open = [&process, device, number](int flags) -> std::shared_ptr<File> {
      return std::make_shared<DeviceFile>(
          flags, device.path, device.kind, number,
          [&process](std::span<std::byte> out) { process.random(out); });
    };
    vfs.add(device.path, std::move(entry));
  }
  SyntheticEntry stasis;
  stasis.mode = S_IFCHR | 0666U;
  stasis.special_device = 0x0a57;
  stasis.open = [&process](int flags) -> std::shared_ptr<File> {
    return std::make_shared<StasisFile>(flags, process.device);
  };
  vfs.add("/dev/stasis", std::move(stasis));
  SyntheticEntry terminal;  // There is none: opening it says so (ENXIO).
  terminal.mode = S_IFCHR | 0666U;
  terminal.special_device = makedev(5, 0);
  terminal.open = [](int /*flags*/) -> std::shared_ptr<File> { return nullptr; };
  vfs.add("/dev/tty", std::move(terminal));
  const auto add_link = [&vfs](const char* path, const char* target) {
    SyntheticEntry link;
    link.mode = S_IFLNK | 0777U;
    link.text = [target] { return std::string(target); };
    vfs.add(path, std::move(link));
  };
  add_link("/dev/fd", "/proc/self/fd");
  add_link("/dev/stdin", "/proc/self/fd/0");
  add_link("/dev/stdout", "/proc/self/fd/1");
  add_link("/dev/stderr", "/proc/self/fd/2");
}

}  // namespace stasis::linux_guest
