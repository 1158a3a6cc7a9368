// Devices: what answers when a guest leaves RAM.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/result.h"
#include "core/vcpu_exit.h"

namespace stasis {

class GuestMemory;
class TrapHandler;

// Of an interrupt's input.
enum class LineLevel : std::uint8_t { kLow, kHigh };

// What the owner of a Machine waits for. Value.
struct MachineEvent {
  enum class Kind : std::uint8_t {
    kReady,        // The guest is warm and may be saved.
    kResponse,     // A response lies in the mailbox; `value` is its length in bytes.
    kCheckpoint,   // The guest passed a point that it numbers with `value` (tests, experiments).
    kExit,         // The guest is finished; `value` is its exit code.
    kHalted,       // Every vCPU has halted.
    kGuestFailed,  // The guest cannot go on; `message` says why. `value` is the number of the
                   // signal that ended a Linux process, else 0.
    kHostFailed,   // A device or the hypervisor failed; `message` says why.
  };
  Kind kind = Kind::kReady;
  std::uint32_t vcpu = 0;
  std::uint64_t value = 0;
  MonotonicNs at = 0;
  std::string message = {};
};
std::string_view name_of(MachineEvent::Kind kind);

// What becomes of the vCPU whose write a device has just handled.
enum class AfterWrite : std::uint8_t {
  kContinue,  // Back into the guest.
  kPark,      // Wait until wake(vcpu). A wake() that came since the last park is not lost.
  kHold,      // Wait until the owner calls Machine::resume(): for doorbells that end a phase.
};

// When a vCPU that is in the guest is to be taken out of it, for TrapHandler::on_interrupt(),
// although the guest may not leave by itself. Value.
struct InterruptPlan {
  std::optional<MonotonicNs> at = {};  // At this time of host_clock(), or soon after.
  bool on_wake = false;                // When wake() is called; the wake-up is consumed by it.
  friend bool operator==(const InterruptPlan&, const InterruptPlan&) = default;
};

struct WriteOutcome {
  AfterWrite after = AfterWrite::kContinue;
  std::optional<MachineEvent> event = {};  // `vcpu` and `at` are filled in by the Machine.
  // kPark: wake at this time of host_clock() at the latest. The time is not part of a saved state:
  // such a vCPU is saved as running, and finds by itself how long it still has to wait.
  std::optional<MonotonicNs> park_until = {};
  // kContinue, of a trap handler only: holds until its next outcome.
  InterruptPlan interrupt = {};
};

// The Machine as a device sees it. Thread-safe.
class DeviceHost {
 public:
  virtual ~DeviceHost() = default;
  virtual GuestMemory& memory() = 0;
  virtual void wake(std::uint32_t vcpu) = 0;  // Ignored if there is no such vCPU.
  [[nodiscard]] virtual std::uint32_t vcpu_count() const = 0;
  // A line of the VM's interrupt controller (core/interrupt_controller.h) is high, or not any more.
  // Without a controller nothing happens.
  virtual void set_interrupt_line(std::uint32_t /*line*/, LineLevel /*level*/) {}
};

// Stored in snapshots. `version` is the device's own; load_state() must know every older one.
struct DeviceState {
  std::string name;
  std::uint32_t version = 1;
  std::vector<std::byte> bytes;
  friend bool operator==(const DeviceState&, const DeviceState&) = default;
};

// What of a Machine besides RAM and vCPUs has state.
class StatefulPart {
 public:
  virtual ~StatefulPart() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // Unique in a Machine; in snapshots.
  // Only while no vCPU is in the guest.
  [[nodiscard]] virtual Result<DeviceState> save_state() const = 0;
  virtual Result<void> load_state(const DeviceState& state) = 0;
};

// read() and write() are called from vCPU threads, concurrently: implementations synchronise.
// `offset` is relative to the device's window. What a guest does wrong is answered, not refused: an
// Error ends the Machine (kHostFailed), so it is for host failures only.
class Device : public StatefulPart {
 public:
  virtual Result<std::uint64_t> read(std::uint64_t offset, std::uint8_t width_bytes,
                                     std::uint32_t vcpu, DeviceHost& host) = 0;
  virtual Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes,
                                     std::uint64_t data, std::uint32_t vcpu, DeviceHost& host) = 0;
  // Who is called instead of write(); null, as a rule: the device needs no registers. Needs a
  // backend with Vcpu::trap_access().
  [[nodiscard]] virtual TrapHandler* trap_handler() { return nullptr; }
};

// Windows of devices in the port and MMIO spaces. Built once, then immutable and shareable.
class DeviceBus {
 public:
  // kInvalidArgument if the window is empty, wraps, overlaps another, or the name is taken.
  Result<void> attach(IoSpace space, std::uint64_t address, std::uint64_t size_bytes,
                      std::shared_ptr<Device> device);

  struct Target {
    Device* device = nullptr;
    std::uint64_t offset = 0;
  };
  // Nothing where no device answers, or where the access would leave the window: the Machine then
  // reads all ones and ignores writes, as on a PC bus.
  [[nodiscard]] std::optional<Target> find(const IoAccess& access) const;
  [[nodiscard]] std::vector<Device*> devices() const;  // In order of attachment, each once.

 private:
  struct Window {
    IoSpace space;
    std::uint64_t address;
    std::uint64_t size_bytes;
    std::shared_ptr<Device> device;
  };
  std::vector<Window> windows_;
};

}  // namespace stasis
