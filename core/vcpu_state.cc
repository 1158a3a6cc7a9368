#include "core/vcpu_state.h"

namespace stasis {

std::string_view name_of(Architecture architecture) {
  switch (architecture) {
    case Architecture::kX86_64:
      return "x86-64";
    case Architecture::kArm64:
      return "arm64";
    case Architecture::kToy:
      return "toy";
  }
  return "unknown architecture";
}

namespace {

struct ArchitectureOf {
  Architecture operator()(const X86VcpuState&) const { return Architecture::kX86_64; }
  Architecture operator()(const Arm64VcpuState&) const { return Architecture::kArm64; }
  Architecture operator()(const ToyVcpuState&) const { return Architecture::kToy; }
};

}  // namespace

Architecture architecture_of(const VcpuState& state) {
  return std::visit(ArchitectureOf{}, state);
}

}  // namespace stasis
