// DoorbellDevice: the host's end of the guest ABI (guests/abi.h, docs/guest-abi.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/mutex.h"
#include "core/result.h"
#include "core/vcpu_state.h"
#include "guests/abi.h"
#include "guests/doorbell_state.h"

namespace stasis::guests {

// What the device needs from its owner. Value. The defaults suit a guest loaded by load_guest().
struct DoorbellConfig {
  Architecture architecture = Architecture::kX86_64;  // How a TrapFrame is read.
  Gpa mailbox = Gpa{abi::kMailboxAddress};
  Gpa trap_frames = Gpa{abi::kTrapFramesAddress};
  // Called on vCPU threads, one at a time; must not call back into the device. Empty: output is
  // dropped.
  std::function<void(std::string_view)> console = {};
  // Fills its argument with unpredictable bytes. Empty: the operating system's source.
  std::function<void(std::span<std::byte>)> random = {};
  const Clock* clock = &host_clock();  // Borrowed.
};

// Implements every register of abi::Register, over ports and MMIO alike.
//
// Requests: one is in the mailbox at a time; further ones wait in the device and are delivered in
// order when the guest responds. Responses are copied out of the guest when it rings kRespond, so
// the guest may reuse the mailbox at once.
//
// What a guest does wrong (a length above the limit, a response to no request, an unknown register,
// a vCPU that does not exist) is a kGuestFailed event that says so, and holds the vCPU. Every
// number and every structure in guest memory is read once and checked before use.
//
// Saved state: request numbers, requests not yet delivered, the number of restores. Not saved:
// responses not yet taken, console output, the generation id (it must be new after a restore).
//
// Thread-safe.
class DoorbellDevice final : public Device {
 public:
  static constexpr std::string_view kName = "doorbell";
  static constexpr std::size_t kQueuedRequestsMax = 1024;

  explicit DoorbellDevice(DoorbellConfig config);

  // ---- For the owner of the Machine ----

  // Puts the request into the mailbox and wakes the guest, or queues it while another one is being
  // answered. The Machine may be paused or running. kOutOfRange naming both sizes when `request` is
  // larger than abi::kRequestBytesMax; kInvalidArgument when kQueuedRequestsMax wait already.
  Result<void> post_request(DeviceHost& host, std::span<const std::byte> request);
  Result<void> post_request(DeviceHost& host, std::string_view request);

  // The oldest response not yet taken: there is one for each kResponse event. kNotFound when none.
  Result<std::vector<std::byte>> take_response();

  // The counter value that the guest stored at its first instruction after the last kReady, kWait,
  // kRespond or kCheckpoint returned. It is guest memory: a value from before a snapshot stands
  // there until the restored guest has run, so compare it with the counter at entry.
  [[nodiscard]] Result<std::uint64_t> resumed_counter(const GuestMemory& memory) const;

  // resumed_counter() as it stood when the guest rang for the first time since creation or
  // load_state(): its first instruction after a restore, even if later doorbells have returned
  // since. Nothing before; a value that the guest stored earlier if it rang without having returned
  // from one of those doorbells.
  [[nodiscard]] std::optional<std::uint64_t> first_resumed_counter() const;

  // The histogram that the guest published last; nothing if it has not, since creation or load.
  [[nodiscard]] std::optional<abi::FaultHistogram> fault_histogram() const;

  // Draws a new generation id and counts a restore. load_state() does so by itself; call this when
  // a VM is put back to an earlier state without load_state().
  void new_generation();
  [[nodiscard]] std::uint64_t restore_count() const;
  // Requests posted and not yet answered, the one in the mailbox included.
  [[nodiscard]] std::size_t outstanding_requests() const;

  // ---- Device ----

  [[nodiscard]] std::string_view name() const override { return kName; }
  Result<std::uint64_t> read(std::uint64_t offset, std::uint8_t width_bytes, std::uint32_t vcpu,
                             DeviceHost& host) override;
  Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes, std::uint64_t data,
                             std::uint32_t vcpu, DeviceHost& host) override;
  [[nodiscard]] Result<DeviceState> save_state() const override;
  // kCorruption, naming the field, for bytes that save_state() cannot have written; kMismatch when
  // the mailbox is elsewhere. The device is unchanged on error. Counts a restore, unless the state
  // was saved before the guest's first doorbell: that is a boot.
  Result<void> load_state(const DeviceState& state) override;

 private:
  Result<WriteOutcome> dispatch(abi::Register reg, std::uint32_t value, std::uint32_t vcpu,
                                DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> console(std::uint32_t bytes, DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> respond(std::uint32_t bytes, std::uint32_t vcpu, DeviceHost& host)
      STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> fill_random(DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> fill_generation(DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> fill_clock(DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> take_histogram(DeviceHost& host) STASIS_REQUIRES(mutex_);
  Result<WriteOutcome> panic(std::uint32_t bytes, std::uint32_t vcpu, DeviceHost& host)
      STASIS_REQUIRES(mutex_);
  Result<void> deliver(std::span<const std::byte> request, GuestMemory& memory)
      STASIS_REQUIRES(mutex_);
  void draw_generation() STASIS_REQUIRES(mutex_);
  [[nodiscard]] Gpa mailbox_field(std::size_t offset) const { return config_.mailbox + offset; }

  // Constant after construction.
  DoorbellConfig config_;
  // Shared by vCPU threads and the owner.
  mutable Mutex mutex_;
  DoorbellState state_ STASIS_GUARDED_BY(mutex_);
  std::deque<std::vector<std::byte>> responses_ STASIS_GUARDED_BY(mutex_);
  std::optional<abi::FaultHistogram> histogram_ STASIS_GUARDED_BY(mutex_);
  std::optional<std::uint64_t> first_resumed_ STASIS_GUARDED_BY(mutex_);
  std::array<std::byte, abi::kGenerationBytes> generation_ STASIS_GUARDED_BY(mutex_) = {};
};

// Attaches `device` at the addresses of the ABI: MMIO always, ports as well on x86-64.
Result<void> attach_doorbell(DeviceBus& bus, const std::shared_ptr<DoorbellDevice>& device,
                             Architecture architecture);

}  // namespace stasis::guests
