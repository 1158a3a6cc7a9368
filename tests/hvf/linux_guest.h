// A stock arm64 Linux on the backend, for tests: a Machine with its two serial ports. Skips where
// no kernel was fetched.
#pragma once

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/machine.h"
#include "guests/arm64_linux/console_peer.h"
#include "guests/arm64_linux/linux_loader.h"
#include "guests/arm64_linux/memory_map.h"
#include "guests/arm64_linux/request_peer.h"
#include "guests/arm64_linux/serial_device.h"
#include "hvf/backend.h"
#include "tests/support/must.h"

namespace stasis::hvf {

namespace arm64 = guests::arm64;

inline constexpr auto kLinuxPatience = std::chrono::minutes(5);

// The files of scripts/fetch-linux-arm64, where stasis looks for them.
struct LinuxFiles {
  std::vector<std::byte> kernel, initrd;
};

inline std::filesystem::path linux_directory() {
  // NOLINTBEGIN(concurrency-mt-unsafe)
  if (const char* own = std::getenv("STASIS_LINUX_ARM64"); own != nullptr) {
    return own;
  }
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  // NOLINTEND(concurrency-mt-unsafe)
  const std::filesystem::path base =
      cache != nullptr ? std::filesystem::path(cache)
                       : std::filesystem::path(home == nullptr ? "/" : home) / ".cache";
  return base / "stasis" / "linux-arm64";
}

// Empty if it is not there.
inline std::vector<std::byte> read_whole(const std::filesystem::path& path) {
  std::error_code missing;
  const std::uintmax_t size = std::filesystem::file_size(path, missing);
  std::vector<std::byte> bytes(missing ? 0 : size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// The devices of one machine, and what came out of them.
class LinuxPorts {
 public:
  LinuxPorts()
      : requests_(std::make_shared<arm64::SerialDevice>(std::string(arm64::kRequestsName),
                                                        arm64::kRequestsLine, peer_)) {}
  LinuxPorts(const LinuxPorts&) = delete;
  LinuxPorts& operator=(const LinuxPorts&) = delete;

  std::unique_ptr<DeviceBus> make_bus() {
    auto bus = std::make_unique<DeviceBus>();
    auto console = std::make_shared<arm64::SerialDevice>(
        std::string(arm64::kConsoleName), arm64::kConsoleLine,
        std::make_shared<arm64::ConsolePeer>([this](std::string_view text) {
          const MutexLock lock(mutex_);
          console_ += text;
        }));
    must(bus->attach(IoSpace::kMmio, arm64::kConsole, arm64::kUartBytes, console));
    must(bus->attach(IoSpace::kMmio, arm64::kRequests, arm64::kUartBytes, requests_));
    return bus;
  }
  [[nodiscard]] std::string console() const {
    const MutexLock lock(mutex_);
    return console_;
  }
  void send(Machine& machine, std::string_view request) {
    must(requests_->send(machine.device_host(),
                         must(arm64::RequestPeer::frame(std::as_bytes(std::span(request))))));
  }
  std::string take_response() {
    const std::vector<std::byte> bytes = must(peer_->take_response());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  const std::shared_ptr<arm64::RequestPeer> peer_ = std::make_shared<arm64::RequestPeer>();
  const std::shared_ptr<arm64::SerialDevice> requests_;
  mutable Mutex mutex_;
  std::string console_ STASIS_GUARDED_BY(mutex_);
};

// Until an event of `kind`, which must come first.
inline MachineEvent wait_for(Machine& machine, MachineEvent::Kind kind, const LinuxPorts& ports) {
  const auto event = machine.wait_event(kLinuxPatience);
  if (!event) {
    ADD_FAILURE() << event.error().to_string() << "\n" << ports.console();
    return {};
  }
  EXPECT_EQ(name_of(event->kind), name_of(kind)) << event->message << "\n" << ports.console();
  return *event;
}

// What the guest's shell prints for a command.
inline std::string ask(Machine& machine, LinuxPorts& ports, std::string_view command) {
  ports.send(machine, command);
  wait_for(machine, MachineEvent::Kind::kResponse, ports);
  return testing::Test::HasFailure() ? "" : ports.take_response();
}

inline std::unique_ptr<Machine> boot_linux(HypervisorBackend& backend, LinuxPorts& ports,
                                           const LinuxFiles& files, std::uint32_t vcpus,
                                           const std::string& command_line = "quiet") {
  auto memory =
      must(GuestMemory::create(must(arm64::linux_memory_regions(std::uint64_t{256} << 20U)),
                               backend.capabilities().page_size_bytes));
  arm64::LinuxBoot boot;
  boot.kernel = files.kernel;
  boot.initrd = files.initrd;
  boot.command_line = "console=ttyAMA0 panic=-1 nokaslr " + command_line;
  boot.vcpus = vcpus;
  boot.seed = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  MachineConfig config{.vcpus = vcpus, .start = StartMode::kRunning};
  config.interrupt_controller = InterruptControllerKind::kGicV3;
  auto bus = ports.make_bus();
  MachineState state;
  state.vcpus = must(arm64::load_linux(boot, *memory));
  state.activities.assign(vcpus, VcpuActivity::kRunning);
  state.wake_pending.assign(vcpus, false);
  for (const Device* const device : bus->devices()) {
    state.devices.push_back(must(device->save_state()));
  }
  config.initial_state = std::move(state);
  return must(Machine::create(backend, std::move(memory), std::move(bus), std::move(config)));
}

// With so many vCPUs as the parameter says.
class LinuxTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    auto backend = make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    files_ = {read_whole(linux_directory() / "Image"),
              read_whole(linux_directory() / "initrd.cpio")};
    if (files_.kernel.empty() || files_.initrd.empty()) {
      GTEST_SKIP() << "no arm64 kernel in " << linux_directory()
                   << "; scripts/fetch-linux-arm64 fetches one";
    }
    backend_ = *std::move(backend);
  }

  std::unique_ptr<HypervisorBackend> backend_;
  LinuxFiles files_;
};

}  // namespace stasis::hvf
