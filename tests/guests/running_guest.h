// A guest of this project on the host's hypervisor, for tests: loaded, run, asked, cloned.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/hypervisor.h"
#include "core/machine.h"
#include "core/mutex.h"
#include "core/result.h"
#include "guests/doorbell_device.h"

namespace stasis::guests::test {

struct GuestOptions {
  std::string guest;
  std::string arguments = {};
  std::uint64_t memory_mib = 16;
  std::uint32_t vcpus = 1;
};

inline constexpr std::chrono::seconds kPatience{50};

// Console output, collected on vCPU threads. Thread-safe.
class ConsoleText {
 public:
  void add(std::string_view text) {
    const MutexLock lock(mutex_);
    text_ += text;
  }
  [[nodiscard]] std::string get() const {
    const MutexLock lock(mutex_);
    return text_;
  }

 private:
  mutable Mutex mutex_;
  std::string text_ STASIS_GUARDED_BY(mutex_);
};

class RunningGuest {
 public:
  static Result<RunningGuest> start(HypervisorBackend& backend, const GuestOptions& options);

  // The next event; releases the vCPU that the last one held first.
  Result<MachineEvent> next_event();
  // Runs until an event of that kind; any other is an error.
  Result<MachineEvent> run_until(MachineEvent::Kind kind);
  // kReady must have come. The response as text.
  Result<std::string> ask(std::string_view request);

  // Saves everything and loads it into a new Machine with a copy of the memory. This one stays
  // paused.
  Result<RunningGuest> clone();
  // As it will be cloned: tests may damage it.
  Result<MachineState> pause_and_save();
  Result<RunningGuest> start_copy(const MachineState& state);

  [[nodiscard]] Machine& machine() { return *machine_; }
  [[nodiscard]] DoorbellDevice& doorbell() { return *doorbell_; }
  [[nodiscard]] std::string console() const { return console_->get(); }

 private:
  RunningGuest() = default;
  Result<void> make_machine(std::unique_ptr<GuestMemory> memory, MachineState state);
  static Result<std::unique_ptr<DeviceBus>> make_bus(std::shared_ptr<DoorbellDevice> doorbell);
  void make_doorbell();

  HypervisorBackend* backend_ = nullptr;
  std::uint64_t memory_bytes_ = 0;
  std::shared_ptr<ConsoleText> console_ = std::make_shared<ConsoleText>();
  std::shared_ptr<DoorbellDevice> doorbell_;
  std::unique_ptr<Machine> machine_;
};

}  // namespace stasis::guests::test
