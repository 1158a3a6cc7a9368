// How a KVM backend is made. Portable: also for hosts without KVM.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/address.h"

namespace stasis::kvm {

// Whether guest RAM may be registered in the background (memory_slots.h).
enum class Deferral : std::uint8_t { kForbidden, kAllowed };

// The sizes of memory slots when registration is deferred. Value; the defaults are what decision
// 0008 measured.
struct SlotSizes {
  std::uint64_t first_window_bytes = std::uint64_t{32} << 20U;
  std::uint64_t chunk_bytes = std::uint64_t{256} << 20U;  // A power of two.
};

// How registers pass between this process and KVM: in the page that both share, where the kernel
// can (KVM_CAP_SYNC_REGS), or by one ioctl for each register file, as on a kernel that cannot.
enum class RegisterTransfer : std::uint8_t { kShared, kByIoctl };

// Value. The defaults are right for every use but tests and experiments.
struct Options {
  std::string device_path = "/dev/kvm";
  // kForbidden registers all guest RAM before the first instruction, whatever it costs.
  Deferral deferral = Deferral::kAllowed;
  SlotSizes slot_sizes = {};
  RegisterTransfer registers = RegisterTransfer::kShared;
  // Called on the background thread before it registers a slot; for tests.
  std::function<void(GpaRange)> before_deferred_slot = {};
};

}  // namespace stasis::kvm
