// A real guest on KVM, for tests of trackers and restores.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "core/machine.h"
#include "core/mutex.h"
#include "guests/doorbell_device.h"
#include "kvm/probe.h"

namespace stasis::snapshot::testing {

// What a guest printed. Thread-safe.
class Console {
 public:
  void append(std::string_view text) {
    const MutexLock lock(mutex_);
    text_ += text;
  }
  [[nodiscard]] std::string text() const {
    const MutexLock lock(mutex_);
    return text_;
  }

 private:
  mutable Mutex mutex_;
  std::string text_ STASIS_GUARDED_BY(mutex_);
};

struct GuestOptions {
  std::string guest = "torture";
  std::string arguments = {};
  std::uint32_t vcpus = 1;
  std::uint64_t memory_bytes = std::uint64_t{64} << 20U;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kTransparent;
};

// The bus of a bare guest, with its device and its console.
struct GuestBus {
  std::unique_ptr<DeviceBus> bus;
  std::shared_ptr<guests::DoorbellDevice> doorbell;
  std::shared_ptr<Console> console;
};
GuestBus make_guest_bus(Architecture architecture);

struct GuestMachine {
  std::shared_ptr<Console> console;
  std::shared_ptr<guests::DoorbellDevice> doorbell;
  std::unique_ptr<Machine> machine;  // Paused before its first instruction.
};
Result<GuestMachine> launch_guest(HypervisorBackend& backend, const GuestOptions& options);

// Runs until the guest is held at its next event, and pauses. Errors of the guest are kGuestFault.
Result<MachineEvent> run_to_event(Machine& machine);

// Skips where there is no KVM.
class KvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = kvm::make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }

  GuestMachine launch(const GuestOptions& options) {
    auto guest = launch_guest(*backend_, options);
    EXPECT_TRUE(guest) << guest.error().to_string();
    return guest ? *std::move(guest) : GuestMachine{};
  }

  std::unique_ptr<HypervisorBackend> backend_;
};

// Equal for states that a guest cannot tell apart: without the host's counter, which goes on.
MachineState without_time(MachineState state);
// What differs between two states' x86-64 vCPUs, for the message of a test; empty if nothing does.
std::string difference(const MachineState& one, const MachineState& other);

}  // namespace stasis::snapshot::testing
