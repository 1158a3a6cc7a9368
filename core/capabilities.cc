#include "core/capabilities.h"

namespace stasis {

std::string_view name_of(BackendKind kind) {
  switch (kind) {
    case BackendKind::kMock:
      return "mock";
    case BackendKind::kKvm:
      return "kvm";
    case BackendKind::kHvf:
      return "hvf";
    case BackendKind::kHvfSim:
      return "hvf-sim";
  }
  return "unknown backend";
}

std::string_view name_of(ClockPolicy policy) {
  switch (policy) {
    case ClockPolicy::kGuestContinues:
      return "guest_continues";
    case ClockPolicy::kHostCounter:
      return "host_counter";
    case ClockPolicy::kInstructions:
      return "instructions";
  }
  return "unknown clock policy";
}

std::string_view name_of(DirtyLogKind kind) {
  switch (kind) {
    case DirtyLogKind::kBitmap:
      return "dirty-log";
    case DirtyLogKind::kManualClear:
      return "dirty-log-manual";
    case DirtyLogKind::kRing:
      return "dirty-ring";
  }
  return "unknown dirty log";
}

}  // namespace stasis
