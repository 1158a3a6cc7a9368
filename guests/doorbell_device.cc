#include "guests/doorbell_device.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "core/check.h"
#include "core/guest_memory.h"
#include "guests/panic_report.h"

namespace stasis::guests {
namespace {

using abi::Mailbox;
using abi::MailboxHeader;

WriteOutcome hold_with(MachineEvent::Kind kind, std::uint64_t value) {
  return WriteOutcome{.after = AfterWrite::kHold,
                      .event = MachineEvent{.kind = kind, .value = value}};
}

WriteOutcome guest_failed(std::string message) {
  return WriteOutcome{.after = AfterWrite::kHold,
                      .event = MachineEvent{.kind = MachineEvent::Kind::kGuestFailed,
                                            .message = std::move(message)}};
}

std::string bytes_above(std::string_view what, std::uint64_t bytes, std::uint64_t bytes_max) {
  return std::string(what) + " of " + std::to_string(bytes) +
         " bytes is larger than the mailbox's " + std::to_string(bytes_max);
}

void fill_from_system(std::span<std::byte> out) {
  constexpr std::size_t kCallBytesMax = 256;  // getentropy(3).
  for (std::size_t at = 0; at < out.size(); at += kCallBytesMax) {
    const std::span<std::byte> part = out.subspan(at, std::min(kCallBytesMax, out.size() - at));
    // Fails only for a bad address or a kernel without the call, which we do not support.
    STASIS_CHECK(getentropy(part.data(), part.size()) == 0);
  }
}

}  // namespace

DoorbellDevice::DoorbellDevice(DoorbellConfig config) : config_(std::move(config)) {
  STASIS_CHECK(config_.clock != nullptr);
  const MutexLock lock(mutex_);
  state_.mailbox = config_.mailbox.value;
  draw_generation();
}

// ---- For the owner of the Machine ----

Result<void> DoorbellDevice::post_request(DeviceHost& host, std::span<const std::byte> request) {
  if (request.size() > abi::kRequestBytesMax) {
    return Error{.code = Errc::kOutOfRange,
                 .message = bytes_above("a request", request.size(), abi::kRequestBytesMax) +
                            "; send it in parts"};
  }
  std::uint32_t vcpu = 0;
  {
    const MutexLock lock(mutex_);
    if (state_.delivered_seq != state_.responded_seq) {
      if (state_.queue.size() >= kQueuedRequestsMax) {
        return Error{.code = Errc::kInvalidArgument,
                     .message = "a request: " + std::to_string(kQueuedRequestsMax) +
                                " others wait already; take responses first"};
      }
      state_.queue.emplace_back(request.begin(), request.end());
      return {};
    }
    STASIS_TRY(deliver(request, host.memory()));
    vcpu = state_.service_vcpu;
  }
  // A snapshot may name a vCPU that this Machine does not have; the guest then just goes on
  // waiting.
  if (vcpu < host.vcpu_count()) {
    host.wake(vcpu);
  }
  return {};
}

Result<void> DoorbellDevice::post_request(DeviceHost& host, std::string_view request) {
  return post_request(host, std::as_bytes(std::span(request)));
}

Result<std::vector<std::byte>> DoorbellDevice::take_response() {
  const MutexLock lock(mutex_);
  if (responses_.empty()) {
    return Error{.code = Errc::kNotFound,
                 .message = "no response is there; wait for the event 'response' first"};
  }
  std::vector<std::byte> response = std::move(responses_.front());
  responses_.pop_front();
  return response;
}

Result<std::uint64_t> DoorbellDevice::resumed_counter(const GuestMemory& memory) const {
  return memory.read_object<std::uint64_t>(mailbox_field(offsetof(MailboxHeader, resumed_counter)));
}

std::optional<std::uint64_t> DoorbellDevice::first_resumed_counter() const {
  const MutexLock lock(mutex_);
  return first_resumed_;
}

std::optional<abi::FaultHistogram> DoorbellDevice::fault_histogram() const {
  const MutexLock lock(mutex_);
  return histogram_;
}

void DoorbellDevice::new_generation() {
  const MutexLock lock(mutex_);
  ++state_.restore_count;
  draw_generation();
}

std::uint64_t DoorbellDevice::restore_count() const {
  const MutexLock lock(mutex_);
  return state_.restore_count;
}

std::size_t DoorbellDevice::outstanding_requests() const {
  const MutexLock lock(mutex_);
  return state_.queue.size() + (state_.delivered_seq != state_.responded_seq ? 1 : 0);
}

// ---- Device ----

Result<std::uint64_t> DoorbellDevice::read(std::uint64_t offset, std::uint8_t /*width_bytes*/,
                                           std::uint32_t /*vcpu*/, DeviceHost& /*host*/) {
  switch (offset) {
    case abi::register_offset(abi::Register::kAbiMagic):
      return std::uint64_t{abi::kMagic};
    case abi::register_offset(abi::Register::kAbiVersion):
      return std::uint64_t{abi::kVersion};
    default:
      return std::numeric_limits<std::uint64_t>::max();
  }
}

Result<WriteOutcome> DoorbellDevice::write(std::uint64_t offset, std::uint8_t width_bytes,
                                           std::uint64_t data, std::uint32_t vcpu,
                                           DeviceHost& host) {
  if (offset % 4 != 0 || (width_bytes != 4 && width_bytes != 8)) {
    return guest_failed("doorbell: a write of " + std::to_string(width_bytes) +
                        " bytes at offset " + std::to_string(offset) +
                        " is not a 32-bit register; write 4 bytes at 4 * register");
  }
  if (data > std::numeric_limits<std::uint32_t>::max()) {
    return guest_failed("doorbell: the value " + std::to_string(data) + " at offset " +
                        std::to_string(offset) + " does not fit into 32 bits");
  }
  const MutexLock lock(mutex_);
  if (!first_resumed_) {
    // Without a mailbox there is nothing to note; the doorbells that need one say so.
    if (const Result<std::uint64_t> counter = resumed_counter(host.memory())) {
      first_resumed_ = *counter;
    }
  }
  state_.rung = true;
  return dispatch(static_cast<abi::Register>(offset / 4), static_cast<std::uint32_t>(data), vcpu,
                  host);
}

Result<WriteOutcome> DoorbellDevice::dispatch(abi::Register reg, std::uint32_t value,
                                              std::uint32_t vcpu, DeviceHost& host) {
  switch (reg) {
    case abi::Register::kAbiMagic:
    case abi::Register::kAbiVersion:
      break;  // Read-only.
    case abi::Register::kConsole:
      return console(value, host);
    case abi::Register::kReady:
      state_.service_vcpu = vcpu;
      return hold_with(MachineEvent::Kind::kReady, 0);
    case abi::Register::kWait:
      state_.service_vcpu = vcpu;
      return WriteOutcome{.after = AfterWrite::kPark};
    case abi::Register::kRespond:
      return respond(value, vcpu, host);
    case abi::Register::kExit:
      return hold_with(MachineEvent::Kind::kExit, value);
    case abi::Register::kRandom:
      return fill_random(host);
    case abi::Register::kGeneration:
      return fill_generation(host);
    case abi::Register::kClock:
      return fill_clock(host);
    case abi::Register::kFaultProbe:
      return take_histogram(host);
    case abi::Register::kCheckpoint:
      return hold_with(MachineEvent::Kind::kCheckpoint, value);
    case abi::Register::kPark:
      return WriteOutcome{.after = AfterWrite::kPark};
    case abi::Register::kWake:
      if (value >= host.vcpu_count()) {
        return guest_failed("doorbell: wake of vCPU " + std::to_string(value) + ", but there are " +
                            std::to_string(host.vcpu_count()));
      }
      host.wake(value);
      return WriteOutcome{};
    case abi::Register::kPanic:
      return panic(value, vcpu, host);
  }
  return guest_failed("doorbell: register " + std::to_string(static_cast<std::uint32_t>(reg)) +
                      " cannot be written in ABI version " + std::to_string(abi::kVersionMajor) +
                      "." + std::to_string(abi::kVersionMinor));
}

Result<WriteOutcome> DoorbellDevice::console(std::uint32_t bytes, DeviceHost& host) {
  if (bytes > abi::kConsoleBytesMax) {
    return guest_failed("doorbell: " + bytes_above("console output", bytes, abi::kConsoleBytesMax));
  }
  std::string text(bytes, '\0');
  STASIS_TRY(host.memory().read(mailbox_field(offsetof(Mailbox, console)),
                                std::as_writable_bytes(std::span(text))));
  if (config_.console) {
    config_.console(text);
  }
  return WriteOutcome{};
}

Result<WriteOutcome> DoorbellDevice::respond(std::uint32_t bytes, std::uint32_t vcpu,
                                             DeviceHost& host) {
  if (bytes > abi::kResponseBytesMax) {
    return guest_failed("doorbell: " + bytes_above("a response", bytes, abi::kResponseBytesMax));
  }
  STASIS_ASSIGN(const auto response_seq, host.memory().read_object<std::uint64_t>(
                                             mailbox_field(offsetof(MailboxHeader, response_seq))));
  if (state_.responded_seq == state_.delivered_seq) {
    return guest_failed("doorbell: a response although no request is being answered");
  }
  if (response_seq != state_.delivered_seq) {
    return guest_failed("doorbell: a response to request " + std::to_string(response_seq) +
                        ", but request " + std::to_string(state_.delivered_seq) +
                        " is being answered; store its number in response_seq first");
  }
  std::vector<std::byte> response(bytes);
  STASIS_TRY(host.memory().read(mailbox_field(offsetof(Mailbox, response)), response));
  responses_.push_back(std::move(response));
  state_.responded_seq = state_.delivered_seq;
  state_.service_vcpu = vcpu;
  WriteOutcome outcome{
      .after = AfterWrite::kPark,
      .event = MachineEvent{.kind = MachineEvent::Kind::kResponse, .value = bytes}};
  if (!state_.queue.empty()) {
    const std::vector<std::byte> next = std::move(state_.queue.front());
    state_.queue.pop_front();
    STASIS_TRY(deliver(next, host.memory()));
    outcome.after = AfterWrite::kContinue;
  }
  return outcome;
}

Result<void> DoorbellDevice::deliver(std::span<const std::byte> request, GuestMemory& memory) {
  STASIS_TRY(memory.write(mailbox_field(offsetof(Mailbox, request)), request));
  STASIS_TRY(memory.write_object(mailbox_field(offsetof(MailboxHeader, request_bytes)),
                                 static_cast<std::uint32_t>(request.size())));
  // The guest may run: it must not see the number before the request, and loads it with acquire
  // semantics.
  STASIS_TRY(memory.store_release(mailbox_field(offsetof(MailboxHeader, request_seq)),
                                  state_.delivered_seq + 1));
  ++state_.delivered_seq;
  return {};
}

Result<WriteOutcome> DoorbellDevice::fill_random(DeviceHost& host) {
  std::array<std::byte, abi::kRandomBytes> bytes{};
  (config_.random ? config_.random : fill_from_system)(bytes);
  STASIS_TRY(host.memory().write(mailbox_field(offsetof(MailboxHeader, random)), bytes));
  return WriteOutcome{};
}

Result<WriteOutcome> DoorbellDevice::fill_generation(DeviceHost& host) {
  STASIS_TRY(host.memory().write(mailbox_field(offsetof(MailboxHeader, generation)), generation_));
  STASIS_TRY(host.memory().write_object(mailbox_field(offsetof(MailboxHeader, restore_count)),
                                        state_.restore_count));
  return WriteOutcome{};
}

Result<WriteOutcome> DoorbellDevice::fill_clock(DeviceHost& host) {
  STASIS_TRY(host.memory().write_object(mailbox_field(offsetof(MailboxHeader, wall_ns)),
                                        config_.clock->wall_ns()));
  STASIS_TRY(host.memory().write_object(mailbox_field(offsetof(MailboxHeader, monotonic_ns)),
                                        config_.clock->now()));
  return WriteOutcome{};
}

Result<WriteOutcome> DoorbellDevice::take_histogram(DeviceHost& host) {
  STASIS_ASSIGN(const auto histogram, host.memory().read_object<abi::FaultHistogram>(
                                          mailbox_field(offsetof(MailboxHeader, fault_histogram))));
  std::uint64_t left = histogram.count;
  for (const std::uint64_t bucket : histogram.buckets) {
    if (bucket > left) {
      return guest_failed("doorbell: the fault histogram's buckets hold more than its count");
    }
    left -= bucket;
  }
  if (left != 0) {
    return guest_failed("doorbell: the fault histogram's count is more than its buckets hold");
  }
  histogram_ = histogram;
  return WriteOutcome{};
}

Result<WriteOutcome> DoorbellDevice::panic(std::uint32_t bytes, std::uint32_t vcpu,
                                           DeviceHost& host) {
  if (bytes > abi::kConsoleBytesMax) {
    return guest_failed("doorbell: " +
                        bytes_above("a panic message", bytes, abi::kConsoleBytesMax));
  }
  if (bytes == 0) {
    STASIS_ASSIGN(std::string report, read_panic_report(host.memory(), config_.trap_frames, vcpu,
                                                        config_.architecture));
    return guest_failed(std::move(report));
  }
  std::string text(bytes, '\0');
  STASIS_TRY(host.memory().read(mailbox_field(offsetof(Mailbox, console)),
                                std::as_writable_bytes(std::span(text))));
  return guest_failed("guest panic: " + printable(text));
}

Result<DeviceState> DoorbellDevice::save_state() const {
  const MutexLock lock(mutex_);
  return DeviceState{.name = std::string(kName),
                     .version = kDoorbellStateVersion,
                     .bytes = encode_doorbell_state(state_)};
}

Result<void> DoorbellDevice::load_state(const DeviceState& state) {
  if (state.name != kName) {
    return Error{.code = Errc::kMismatch,
                 .message = "doorbell state: it is the state of '" + state.name + "'"};
  }
  if (state.version != kDoorbellStateVersion) {
    return Error{.code = Errc::kMismatch,
                 .message = "doorbell state: version " + std::to_string(state.version) +
                            " is unknown; this program reads version " +
                            std::to_string(kDoorbellStateVersion)};
  }
  STASIS_ASSIGN(DoorbellState loaded, decode_doorbell_state(state.bytes));
  if (loaded.mailbox != config_.mailbox.value) {
    return Error{.code = Errc::kMismatch,
                 .message = "doorbell state: its mailbox is at " + std::to_string(loaded.mailbox) +
                            ", this device's at " + std::to_string(config_.mailbox.value)};
  }
  const MutexLock lock(mutex_);
  state_ = std::move(loaded);
  responses_.clear();
  histogram_.reset();
  first_resumed_.reset();
  draw_generation();
  if (state_.rung) {
    ++state_.restore_count;
  }
  return {};
}

void DoorbellDevice::draw_generation() {
  (config_.random ? config_.random : fill_from_system)(generation_);
}

Result<void> attach_doorbell(DeviceBus& bus, const std::shared_ptr<DoorbellDevice>& device,
                             Architecture architecture) {
  STASIS_TRY(
      bus.attach(IoSpace::kMmio, abi::kDoorbellMmioAddress, abi::kDoorbellWindowBytes, device));
  if (architecture == Architecture::kX86_64) {
    STASIS_TRY(bus.attach(IoSpace::kPort, abi::kDoorbellPort, abi::kDoorbellWindowBytes, device));
  }
  return {};
}

}  // namespace stasis::guests
