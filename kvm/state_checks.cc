#include "kvm/state_checks.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "core/address.h"
#include "core/text.h"
#include "kvm/host_cpuid.h"
#include "kvm/kvm_uapi.h"
#include "kvm/xsave_image.h"

namespace stasis::kvm {
namespace {

// A guest clock that runs wrong by more than this is refused where KVM cannot scale it. The same
// bound as the kernel's own tolerance (tsc_tolerance_ppm).
constexpr std::uint64_t kTscTolerancePpm = 250;

Error mismatch(std::string message) {
  return Error{Errc::kMismatch, 0, std::move(message)};
}

// What a guest with this list may enable (SDM vol. 2A, CPUID leaf 0xd).
std::uint64_t xcr0_of(const std::vector<X86CpuidEntry>& cpuid) {
  const X86CpuidEntry* leaf = find_leaf(cpuid, 0xd, 0);
  return leaf == nullptr ? 3 : (std::uint64_t{leaf->edx} << 32U) | leaf->eax;
}

}  // namespace

Result<void> check_features(const std::vector<X86CpuidEntry>& wanted,
                            const std::vector<X86CpuidEntry>& host) {
  const std::vector<std::string> needed = features_of(wanted, xcr0_of(wanted));
  const std::vector<std::string> present = features_of(host, xcr0_of(host));
  std::string missing;
  for (const std::string& feature : needed) {
    if (!std::binary_search(present.begin(), present.end(), feature)) {
      missing += missing.empty() ? "" : ", ";
      missing += feature;
    }
  }
  if (!missing.empty()) {
    return mismatch("this host lacks the CPU feature(s) " + missing +
                    " that the guest was given: restore on a host that has them");
  }
  return {};
}

Result<void> check_xsave(const X86VcpuState& state, const std::vector<X86CpuidEntry>& host,
                         std::uint64_t host_xcr0, std::size_t host_bytes) {
  if (state.xsave.empty()) {
    return {};
  }
  if (state.xsave.size() < kXsaveLegacyAndHeaderBytes) {
    return Error{Errc::kInvalidArgument, 0,
                 "the XSAVE image has " + std::to_string(state.xsave.size()) +
                     " bytes; the smallest possible has " +
                     std::to_string(kXsaveLegacyAndHeaderBytes)};
  }
  std::uint64_t components = 0;
  std::memcpy(&components, state.xsave.data() + kXstateBvOffset, sizeof(components));
  for (std::uint32_t i = 0; i < 63; ++i) {
    if (((components >> i) & 1U) == 0) {
      continue;
    }
    const std::string name(xsave_component_name(i));
    if (((host_xcr0 >> i) & 1U) == 0 && i >= 2) {
      return mismatch("the guest has " + name + " state (XSAVE component " + std::to_string(i) +
                      "), which this host cannot give to a guest: restore on a host with it");
    }
    const X86CpuidEntry* here = find_leaf(host, 0xd, i);
    const X86CpuidEntry* there = find_leaf(state.cpuid, 0xd, i);
    if (i < 2 || here == nullptr) {
      continue;
    }
    const bool moved = there != nullptr && (there->eax != here->eax || there->ebx != here->ebx);
    if (moved || !fits(here->ebx, here->eax, std::min(state.xsave.size(), host_bytes))) {
      return mismatch("this host keeps " + name +
                      " state at another place of the XSAVE image "
                      "than the host that saved it: restore on a CPU of the same vendor");
    }
  }
  return {};
}

Result<XcrLoad> plan_xcrs(const std::vector<X86Xcr>& xcrs, VcpuHistory history, Engine engine,
                          std::uint64_t guest_xcr0) {
  const bool xcr0_alone = xcrs.size() == 1 && xcrs[0].index == 0;
  const bool as_reset = xcr0_alone && xcrs[0].value == 1;
  if (xcrs.empty() || (as_reset && history == VcpuHistory::kFresh)) {
    return XcrLoad::kNothing;
  }
  if (engine == Engine::kPvm && xcr0_alone && (xcrs[0].value & ~guest_xcr0) == 0) {
    return XcrLoad::kNothing;
  }
  if (xcrs.size() > KVM_MAX_XCRS) {
    return Error{Errc::kInvalidArgument, 0,
                 "the state has " + std::to_string(xcrs.size()) +
                     " extended control registers; there are at most " +
                     std::to_string(KVM_MAX_XCRS)};
  }
  return XcrLoad::kSet;
}

Error refused_xcr0(std::uint64_t xcr0, std::uint64_t guest_xcr0) {
  std::string beyond;
  for (std::uint32_t bit = 0; bit < 64; ++bit) {
    if ((((xcr0 & ~guest_xcr0) >> bit) & 1U) != 0) {
      beyond += beyond.empty() ? "" : ", ";
      beyond += std::to_string(bit) + " (" + std::string(xsave_component_name(bit)) + ")";
    }
  }
  return mismatch("XCR0 = " + hex(xcr0) + " is refused by this host, whose guests can have " +
                  hex(guest_xcr0) + (beyond.empty() ? "" : "; not bit " + beyond) +
                  ": restore on a host with these CPU features");
}

Result<std::uint32_t> plan_tsc_khz(std::uint32_t saved_khz, std::uint32_t native_khz,
                                   bool can_scale) {
  const std::uint64_t distance =
      native_khz > saved_khz ? native_khz - saved_khz : saved_khz - native_khz;
  if (distance * 1'000'000 <= native_khz * kTscTolerancePpm) {
    return native_khz;
  }
  if (can_scale) {
    return saved_khz;
  }
  return refused_tsc_khz(saved_khz, native_khz);
}

Error refused_tsc_khz(std::uint32_t saved_khz, std::uint32_t native_khz) {
  return mismatch("the guest's time-stamp counter runs at " + std::to_string(saved_khz) +
                  " kHz, this host's at " + std::to_string(native_khz) +
                  " kHz, and its KVM cannot scale it: restore on a host with that frequency");
}

}  // namespace stasis::kvm
