#include <unistd.h>

#include <utility>

#include "guests/arm64_linux/console_peer.h"
#include "guests/arm64_linux/memory_map.h"
#include "guests/arm64_linux/request_peer.h"
#include "guests/arm64_linux/serial_device.h"
#include "guests/doorbell_device.h"
#include "session/guest_port.h"

namespace stasis::session::internal {

namespace {

namespace arm64 = guests::arm64;

class DoorbellPort final : public GuestPort {
 public:
  explicit DoorbellPort(std::shared_ptr<guests::DoorbellDevice> device)
      : device_(std::move(device)) {}
  Result<void> post_request(DeviceHost& host, std::span<const std::byte> request) override {
    return device_->post_request(host, request);
  }
  Result<std::vector<std::byte>> take_response() override { return device_->take_response(); }
  [[nodiscard]] std::optional<std::uint64_t> first_resumed_counter() const override {
    return device_->first_resumed_counter();
  }
  [[nodiscard]] bool can_be_loaded_again() const override { return true; }

 private:
  std::shared_ptr<guests::DoorbellDevice> device_;
};

class LinuxPort final : public GuestPort {
 public:
  explicit LinuxPort(std::shared_ptr<linux_guest::vm::LinuxProcess> process)
      : process_(std::move(process)) {}
  Result<void> post_request(DeviceHost& host, std::span<const std::byte> request) override {
    return process_->post_request(host, request);
  }
  Result<std::vector<std::byte>> take_response() override { return process_->take_response(); }
  [[nodiscard]] std::optional<std::uint64_t> first_resumed_counter() const override {
    return process_->first_resumed_counter();
  }
  [[nodiscard]] const linux_guest::vm::LinuxProcess* linux_process() const override {
    return process_.get();
  }

 private:
  std::shared_ptr<linux_guest::vm::LinuxProcess> process_;
};

class KernelPort final : public GuestPort {
 public:
  KernelPort(std::shared_ptr<arm64::SerialDevice> device, std::shared_ptr<arm64::RequestPeer> peer)
      : device_(std::move(device)), peer_(std::move(peer)) {}
  Result<void> post_request(DeviceHost& host, std::span<const std::byte> request) override {
    STASIS_ASSIGN(const std::vector<std::byte> framed, arm64::RequestPeer::frame(request));
    return device_->send(host, framed);
  }
  Result<std::vector<std::byte>> take_response() override { return peer_->take_response(); }
  [[nodiscard]] std::optional<std::uint64_t> first_resumed_counter() const override {
    return std::nullopt;
  }
  [[nodiscard]] bool notes_resumption() const override { return false; }

 private:
  std::shared_ptr<arm64::SerialDevice> device_;
  std::shared_ptr<arm64::RequestPeer> peer_;
};

}  // namespace

Result<Devices> make_doorbell_devices(Architecture architecture,
                                      const std::shared_ptr<ConsoleBuffer>& console) {
  guests::DoorbellConfig config;
  config.architecture = architecture;
  config.console = [console](std::string_view text) { console->append(text); };
  auto doorbell = std::make_shared<guests::DoorbellDevice>(std::move(config));
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(guests::attach_doorbell(*bus, doorbell, architecture));
  return Devices{std::move(bus), std::make_unique<DoorbellPort>(doorbell)};
}

Result<Devices> make_linux_devices(const std::shared_ptr<linux_guest::vm::LinuxProcess>& process) {
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(linux_guest::vm::attach_process(*bus, process));
  return Devices{std::move(bus), std::make_unique<LinuxPort>(process)};
}

Result<Devices> make_kernel_devices(const std::shared_ptr<ConsoleBuffer>& console) {
  auto peer = std::make_shared<arm64::RequestPeer>();
  auto serial = std::make_shared<arm64::SerialDevice>(
      std::string(arm64::kConsoleName), arm64::kConsoleLine,
      std::make_shared<arm64::ConsolePeer>(
          [console](std::string_view text) { console->append(text); }));
  auto requests = std::make_shared<arm64::SerialDevice>(std::string(arm64::kRequestsName),
                                                        arm64::kRequestsLine, peer);
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(bus->attach(IoSpace::kMmio, arm64::kConsole, arm64::kUartBytes, serial));
  STASIS_TRY(bus->attach(IoSpace::kMmio, arm64::kRequests, arm64::kUartBytes, requests));
  return Devices{std::move(bus), std::make_unique<KernelPort>(requests, peer)};
}

Result<Devices> make_saved_devices(const snapshot::Manifest& manifest,
                                   const std::shared_ptr<ConsoleBuffer>& console,
                                   StaleFiles stale_files) {
  using linux_guest::vm::LinuxProcess;
  const std::vector<DeviceState>& saved = manifest.machine.devices;
  if (saved.size() == 1 && saved[0].name == LinuxProcess::kName) {
    return make_linux_devices(LinuxProcess::create_for_restore(linux_host(console, stale_files)));
  }
  if (!saved.empty() && saved[0].name == arm64::kConsoleName) {
    return make_kernel_devices(console);
  }
  return make_doorbell_devices(manifest.architecture, console);
}

linux_guest::vm::ProcessHost linux_host(const std::shared_ptr<ConsoleBuffer>& console,
                                        StaleFiles stale_files) {
  linux_guest::vm::ProcessHost host;
#if defined(STASIS_HAS_LINUX_KERNEL)
  host.make_kernel = linux_guest::Kernel::create;
#else
  host.make_kernel =
      [](linux_guest::KernelConfig,
         linux_guest::AddressSpace&) -> Result<std::unique_ptr<linux_guest::Kernel>> {
    return Error{Errc::kNotSupported, 0, "Linux guests need a build for x86-64 Linux"};
  };
#endif
  host.output = [console](int descriptor, std::string_view text) {
    console->append(text,
                    descriptor == STDERR_FILENO ? ConsoleStream::kErrors : ConsoleStream::kOutput);
  };
  host.stale_files = stale_files == StaleFiles::kAccept ? linux_guest::Kernel::StaleFiles::kAccept
                                                        : linux_guest::Kernel::StaleFiles::kRefuse;
  return host;
}

}  // namespace stasis::session::internal
