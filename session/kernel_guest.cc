#include "session/kernel_guest.h"

#include <sys/random.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <system_error>
#include <utility>

#include "core/text.h"
#include "guests/arm64_linux/linux_loader.h"
#include "guests/arm64_linux/memory_map.h"

namespace stasis::session::internal {
namespace {

namespace arm64 = guests::arm64;
namespace fs = std::filesystem;

// A guest that panics ends. Without a random layout the kernel does not have to isolate its page
// tables, which costs the simulation most; guests that are restored from one snapshot share theirs
// anyway.
constexpr std::string_view kCommandLine = "console=ttyAMA0 panic=-1 nokaslr";
constexpr std::size_t kSeedBytes = 64;
constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{2} << 30U;

// Where scripts/fetch-linux-arm64 puts a kernel and an initramfs.
fs::path cache_directory() {
  // NOLINTBEGIN(concurrency-mt-unsafe): nobody sets them.
  if (const char* own = std::getenv("STASIS_LINUX_ARM64"); own != nullptr && *own != '\0') {
    return own;
  }
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "stasis" / "linux-arm64";
  }
  const char* const home = std::getenv("HOME");
  // NOLINTEND(concurrency-mt-unsafe)
  return fs::path(home == nullptr ? "/" : home) / ".cache" / "stasis" / "linux-arm64";
}

Result<std::vector<std::byte>> read_file(const fs::path& path, std::string_view option) {
  std::error_code failure;
  const std::uintmax_t size = fs::file_size(path, failure);
  if (failure) {
    return Error{Errc::kNotFound, failure.value(),
                 path.string() + ": " + failure.message() + "; name a file with " +
                     std::string(option) + ", or fetch one with scripts/fetch-linux-arm64"};
  }
  if (size > kFileBytesMax) {
    return Error{
        Errc::kOutOfRange, 0,
        path.string() + ": " + describe_bytes(size) + ": at most " + describe_bytes(kFileBytesMax)};
  }
  std::vector<std::byte> bytes(size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!file) {
    return Error{Errc::kIo, 0, path.string() + ": cannot be read"};
  }
  return bytes;
}

Result<std::vector<std::byte>> make_seed() {
  std::vector<std::byte> seed(kSeedBytes);
  if (::getentropy(seed.data(), seed.size()) != 0) {
    return Error{Errc::kIo, errno, "random numbers for the guest"};
  }
  return seed;
}

Result<void> check(const Capabilities& capabilities) {
  if (capabilities.architecture != Architecture::kArm64 || !capabilities.interrupt_controller) {
    return Error{Errc::kMismatch, 0,
                 "an arm64 Linux kernel does not run on the backend '" +
                     std::string(name_of(capabilities.kind)) +
                     "'; choose --backend hvf, or hvf-sim on Linux"};
  }
  return {};
}

}  // namespace

Result<LoadedKernel> load_kernel(const Capabilities& capabilities, const LaunchOptions& options,
                                 const std::shared_ptr<ConsoleBuffer>& console) {
  STASIS_TRY(check(capabilities));
  const KernelOptions& wanted = *options.kernel;
  const fs::path kernel =
      wanted.kernel.empty() ? cache_directory() / "Image" : fs::path(wanted.kernel);
  const fs::path initrd =
      wanted.initrd.empty() ? cache_directory() / "initrd.cpio" : fs::path(wanted.initrd);
  STASIS_ASSIGN(const std::vector<std::byte> kernel_file, read_file(kernel, "--kernel"));
  STASIS_ASSIGN(const std::vector<std::byte> initrd_file, read_file(initrd, "--initrd"));
  arm64::LinuxBoot boot;
  boot.kernel = kernel_file;
  boot.kernel_name = kernel.string();
  boot.initrd = initrd_file;
  boot.initrd_name = initrd.string();
  boot.command_line = std::string(kCommandLine);
  if (!wanted.command_line.empty()) {
    boot.command_line += " " + wanted.command_line;
  }
  boot.vcpus = options.vcpus;
  STASIS_ASSIGN(boot.seed, make_seed());

  LoadedKernel loaded;
  STASIS_ASSIGN(
      const std::vector<RegionSpec> regions,
      arm64::linux_memory_regions(options.memory_bytes, {options.backing, options.huge_pages}));
  STASIS_ASSIGN(loaded.memory, GuestMemory::create(regions, capabilities.page_size_bytes));
  STASIS_ASSIGN(loaded.state.vcpus, arm64::load_linux(boot, *loaded.memory));
  loaded.state.activities.assign(options.vcpus, VcpuActivity::kRunning);
  loaded.state.wake_pending.assign(options.vcpus, false);
  STASIS_ASSIGN(loaded.devices, make_kernel_devices(console));
  for (const Device* const device : loaded.devices.bus->devices()) {
    STASIS_ASSIGN(DeviceState state, device->save_state());
    loaded.state.devices.push_back(std::move(state));
  }
  return loaded;
}

}  // namespace stasis::session::internal
