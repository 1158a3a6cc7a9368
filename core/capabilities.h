// What a backend can do on this host, as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/vcpu_state.h"

namespace stasis {

enum class BackendKind : std::uint8_t { kMock, kKvm, kHvf, kHvfSim };
std::string_view name_of(BackendKind kind);

// A named feature that is present, or the reason why not and what would mend it. For `stasis
// doctor` and for refusals: the same words in both.
struct Availability {
  std::string name;
  bool available = false;
  std::string reason;  // Empty when available.
  std::string cure;    // What the user can do; empty when nothing.
  friend bool operator==(const Availability&, const Availability&) = default;
};

// What happens to the guest's time-stamp counter and timers across a restore.
enum class ClockPolicy : std::uint8_t {
  kGuestContinues = 1,  // The guest's counter goes on from the saved value.
  kHostCounter = 2,     // The guest reads the host's counter: it sees a jump.
  kInstructions = 3,    // The mock: retired instructions, saved with the vCPU.
};
std::string_view name_of(ClockPolicy policy);

// The logs that a hypervisor may have.
enum class DirtyLogKind : std::uint8_t {
  kBitmap,       // A bitmap; reading it clears it and protects its pages again, in one step.
  kManualClear,  // A bitmap; what is protected again is said in a step of its own.
  kRing,         // A list for each vCPU, VmConfig::dirty_ring_entries long.
};
// As the tracker that reads it: "dirty-log", "dirty-log-manual", "dirty-ring".
std::string_view name_of(DirtyLogKind kind);

// The design's limit for every backend. A host may allow fewer.
inline constexpr std::uint32_t kVcpusMax = 32;

// What a vCPU needs between two looks at its ring: KVM keeps some for itself.
inline constexpr std::uint32_t kDirtyRingEntriesMin = 1024;

// Value.
struct Capabilities {
  BackendKind kind = BackendKind::kMock;
  Architecture architecture = Architecture::kToy;
  std::uint32_t vcpus_max = 1;           // min(kVcpusMax, the host's limit).
  std::uint32_t host_vcpus_max = 1;      // The host's own limit, for the refusal's message.
  std::uint64_t page_size_bytes = 4096;  // Granularity of map, protect and dirty tracking.
  std::uint32_t vms_per_process = 1;     // At a time. Hypervisor.framework: one. 0: no limit.
  bool vcpu_is_thread_affine = true;     // All backends demand it; the mock and hvf also check.
  bool dirty_page_tracking = false;      // Vm::dirty_log(kBitmap) works.
  bool write_protection = false;         // Vm::protect() gives ExitWriteProtected with the address.
  bool postcopy_restore = false;         // ExitMissingPage works.
  bool exposes_vcpu_exits = true;
  bool custom_mmio_devices = true;
  bool port_io = false;               // x86 IN and OUT reach the device bus.
  bool instruction_budget = false;    // Vcpu::run_for() works.
  bool interrupt_controller = false;  // VmConfig::interrupt_controller other than kNone works.
  // Whether Vm::dirty_log() works for the other kinds, under their names.
  Availability manual_dirty_log = {"dirty-log-manual", false, "the backend keeps no such log", ""};
  Availability dirty_ring = {"dirty-ring", false, "the backend keeps no such log", ""};
  std::uint32_t dirty_ring_entries_max = 0;  // Of each vCPU's ring.
  ClockPolicy clock_policy = ClockPolicy::kHostCounter;
  std::vector<std::string> cpu_features;  // Of the host, as the guest sees them, sorted: "avx512f".
  std::vector<Availability> notes;        // Everything optional, with its reason.
};

}  // namespace stasis
