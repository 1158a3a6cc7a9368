// What a session asks of the device that its guest talks to, whatever kind of guest it is. Private
// to session/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/machine.h"
#include "core/result.h"
#include "guests/linux/vm/process.h"
#include "session/console_buffer.h"
#include "session/options.h"
#include "snapshot/manifest.h"

namespace stasis::session::internal {

// As guests::DoorbellDevice has these. Thread-safe.
class GuestPort {
 public:
  virtual ~GuestPort() = default;
  virtual Result<void> post_request(DeviceHost& host, std::span<const std::byte> request) = 0;
  virtual Result<std::vector<std::byte>> take_response() = 0;
  [[nodiscard]] virtual std::optional<std::uint64_t> first_resumed_counter() const = 0;
  // Whether the guest notes when it first executes after a restore; else the above stays empty.
  [[nodiscard]] virtual bool notes_resumption() const { return true; }
  // Whether the state of its devices can be loaded into a machine whose guest has run.
  [[nodiscard]] virtual bool can_be_loaded_again() const { return false; }
  // nullptr: not a Linux guest.
  [[nodiscard]] virtual const linux_guest::vm::LinuxProcess* linux_process() const {
    return nullptr;
  }
};

// A bus, and the session's end of the device on it.
struct Devices {
  std::unique_ptr<DeviceBus> bus;
  std::unique_ptr<GuestPort> port;
};

// A doorbell that prints to `console`.
Result<Devices> make_doorbell_devices(Architecture architecture,
                                      const std::shared_ptr<ConsoleBuffer>& console);
Result<Devices> make_linux_devices(const std::shared_ptr<linux_guest::vm::LinuxProcess>& process);
// The serial ports of an arm64 Linux kernel.
Result<Devices> make_kernel_devices(const std::shared_ptr<ConsoleBuffer>& console);
// Those of a snapshot.
Result<Devices> make_saved_devices(const snapshot::Manifest& manifest,
                                   const std::shared_ptr<ConsoleBuffer>& console,
                                   StaleFiles stale_files);

// The kernel of this build, which prints to `console`.
linux_guest::vm::ProcessHost linux_host(const std::shared_ptr<ConsoleBuffer>& console,
                                        StaleFiles stale_files);

}  // namespace stasis::session::internal
