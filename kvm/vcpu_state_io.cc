#include "kvm/vcpu_state_io.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "core/text.h"
#include "kvm/flexible_array.h"
#include "kvm/host_cpuid.h"
#include "kvm/x86_transfer.h"
#include "kvm/xsave_image.h"

namespace stasis::kvm {
namespace {

using MsrArray = FlexibleArray<kvm_msrs, kvm_msr_entry>;

constexpr std::uint32_t kIa32Tsc = 0x10;

Error mismatch(std::string message) {
  return Error{Errc::kMismatch, 0, std::move(message)};
}

Result<std::vector<X86Xcr>> save_xcrs(const KvmFd& vcpu) {
  kvm_xcrs xcrs{};
  STASIS_TRY(vcpu.apply(kGetXcrs, &xcrs));
  std::vector<X86Xcr> out;
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(xcrs.nr_xcrs, KVM_MAX_XCRS); ++i) {
    out.push_back({xcrs.xcrs[i].xcr, xcrs.xcrs[i].value});
  }
  return out;
}

// Reads as many as the kernel can; `unreadable` gets the others.
Result<std::vector<X86Msr>> read_msrs(const KvmFd& vcpu, std::vector<std::uint32_t> indices,
                                      std::vector<std::uint32_t>& unreadable) {
  std::vector<X86Msr> out;
  out.reserve(indices.size());
  std::size_t next = 0;
  while (next < indices.size()) {
    const std::size_t count = indices.size() - next;
    MsrArray array(count);
    array->nmsrs = static_cast<std::uint32_t>(count);
    for (std::size_t i = 0; i < count; ++i) {
      array->entries[i].index = indices[next + i];
    }
    // The answer is how many were read before the first that cannot be.
    STASIS_ASSIGN(const int answer, vcpu.call(kGetMsrs, array.get()));
    const auto done = static_cast<std::size_t>(answer);
    for (std::size_t i = 0; i < done; ++i) {
      out.push_back({array->entries[i].index, array->entries[i].data});
    }
    if (done < count) {
      unreadable.push_back(indices[next + done]);
    }
    next += done + 1;
  }
  return out;
}

// Returns the first that the kernel refuses, or wanted.size().
Result<std::size_t> write_msrs(const KvmFd& vcpu, const std::vector<X86Msr>& wanted) {
  MsrArray array(wanted.size());
  array->nmsrs = static_cast<std::uint32_t>(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    array->entries[i].index = wanted[i].index;
    array->entries[i].data = wanted[i].value;
  }
  STASIS_ASSIGN(const int answer, vcpu.call(kSetMsrs, array.get()));
  return static_cast<std::size_t>(answer);
}

// Writes only what differs from what the vCPU holds: most MSRs never leave their reset value, some
// accept no other, and one read is cheaper than to find out which by failing.
Result<void> load_msrs(const KvmFd& vcpu, const X86VcpuState& state, bool restore_tsc) {
  std::vector<std::uint32_t> indices;
  indices.reserve(state.msrs.size());
  for (const X86Msr& msr : state.msrs) {
    indices.push_back(msr.index);
  }
  std::vector<std::uint32_t> unreadable;
  STASIS_ASSIGN(const std::vector<X86Msr> present, read_msrs(vcpu, indices, unreadable));

  std::vector<X86Msr> wanted;
  std::size_t position = 0;
  for (const X86Msr& msr : state.msrs) {
    const bool readable = position < present.size() && present[position].index == msr.index;
    if (readable ? present[position].value != msr.value : msr.value != 0) {
      wanted.push_back(msr);
    }
    position += readable ? 1 : 0;
  }
  if (restore_tsc) {  // Last, so that the guest's counter misses as little as possible.
    wanted.push_back({kIa32Tsc, state.tsc});
  }
  if (wanted.empty()) {
    return {};
  }
  STASIS_ASSIGN(const std::size_t done, write_msrs(vcpu, wanted));
  if (done < wanted.size()) {
    return mismatch(msr_name(wanted[done].index) + " = " + hex(wanted[done].value) +
                    " is refused by this host's KVM: restore on a host with the same CPU model "
                    "and kernel features");
  }
  return {};
}

Result<void> load_xcrs(const KvmFd& vcpu, const X86VcpuState& state, VcpuHistory history,
                       const HostFacts& facts) {
  STASIS_ASSIGN(const XcrLoad load, plan_xcrs(state.xcrs, history, facts.features().engine,
                                              facts.features().guest_xcr0));
  if (load == XcrLoad::kNothing) {
    return {};
  }
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = static_cast<std::uint32_t>(state.xcrs.size());
  for (std::size_t i = 0; i < state.xcrs.size(); ++i) {
    xcrs.xcrs[i].xcr = state.xcrs[i].index;
    xcrs.xcrs[i].value = state.xcrs[i].value;
  }
  if (!vcpu.apply(kSetXcrs, &xcrs)) {
    return refused_xcr0(state.xcrs[0].value, facts.features().guest_xcr0);
  }
  return {};
}

// `native_khz` is what a vCPU of this host has before any other frequency was set; 0: not asked
// yet, which is only so before the first load.
Result<void> load_tsc_frequency(const KvmFd& vcpu, const X86VcpuState& state,
                                const HostFacts& facts, std::uint32_t& native_khz) {
  if (facts.features().engine == Engine::kPvm || state.tsc_khz == 0) {
    return {};
  }
  STASIS_ASSIGN(const int answer, vcpu.call(kGetTscKhz, 0));
  const auto present_khz = static_cast<std::uint32_t>(answer);
  if (native_khz == 0) {
    native_khz = present_khz;
  }
  STASIS_ASSIGN(const std::uint32_t wanted_khz,
                plan_tsc_khz(state.tsc_khz, native_khz, facts.features().has_tsc_scaling));
  if (wanted_khz != present_khz && !vcpu.apply(kSetTscKhz, wanted_khz)) {
    return refused_tsc_khz(state.tsc_khz, native_khz);
  }
  return {};
}

std::vector<X86CpuidEntry> without_apic_id(std::vector<X86CpuidEntry> cpuid) {
  for (X86CpuidEntry& entry : cpuid) {
    if (entry.function == 1) {
      entry.ebx &= 0x00ffffffU;
    }
  }
  return cpuid;
}

}  // namespace

Result<std::vector<std::byte>> save_xsave(const KvmFd& vcpu, const HostFacts& facts) {
  std::vector<std::byte> image(facts.features().xsave_bytes);
  auto* area = reinterpret_cast<kvm_xsave*>(image.data());  // NOLINT: the kernel's layout
  STASIS_TRY(facts.features().has_xsave2 ? vcpu.apply(kGetXsave2, area)
                                         : vcpu.apply(kGetXsave, area));
  return image;
}

Result<void> load_xsave(const KvmFd& vcpu, std::span<const std::byte> xsave,
                        const HostFacts& facts) {
  if (xsave.empty()) {
    return {};
  }
  // check_xsave() has shown that nothing of value lies beyond the host's size.
  std::vector<std::byte> image(facts.features().xsave_bytes);
  std::memcpy(image.data(), xsave.data(), std::min(image.size(), xsave.size()));
  auto* area = reinterpret_cast<kvm_xsave*>(image.data());  // NOLINT: the kernel's layout
  auto outcome = vcpu.apply(kSetXsave, area);
  if (!outcome) {
    return mismatch("the XSAVE image is refused by this host (" + outcome.error().message +
                    "): restore on a host with the same CPU features");
  }
  return {};
}

EventFeatures event_features(const HostFacts& facts) {
  return EventFeatures{facts.features().has_exception_payload,
                       facts.features().has_triple_fault_event};
}

Result<void> set_cpuid(const KvmFd& vcpu, const std::vector<X86CpuidEntry>& cpuid) {
  FlexibleArray<kvm_cpuid2, kvm_cpuid_entry2> list(cpuid.size());
  list->nent = static_cast<std::uint32_t>(cpuid.size());
  for (std::size_t i = 0; i < cpuid.size(); ++i) {
    const X86CpuidEntry& entry = cpuid[i];
    list->entries[i] = kvm_cpuid_entry2{entry.function, entry.index, entry.flags, entry.eax,
                                        entry.ebx,      entry.ecx,   entry.edx,   {}};
  }
  return vcpu.apply(kSetCpuid2, list.get());
}

Result<void> save_vcpu_beside_registers(const KvmFd& vcpu, HostFacts& facts, X86VcpuState& state) {
  kvm_debugregs debug{};
  STASIS_TRY(vcpu.apply(kGetDebugregs, &debug));
  state.debug = from_kvm(debug);
  kvm_mp_state mp{};
  STASIS_TRY(vcpu.apply(kGetMpState, &mp));
  if (mp.mp_state > static_cast<std::uint32_t>(X86MpState::kSipiReceived)) {
    return Error{Errc::kNotSupported, 0,
                 "the vCPU is in multiprocessor state " + std::to_string(mp.mp_state) +
                     ", which no x86 snapshot can hold"};
  }
  state.mp_state = static_cast<X86MpState>(mp.mp_state);
  STASIS_ASSIGN(state.xsave, save_xsave(vcpu, facts));
  STASIS_ASSIGN(const std::vector<X86CpuidEntry> host, facts.guest_cpuid());
  clear_initial_components(state.xsave, host);
  STASIS_ASSIGN(state.xcrs, save_xcrs(vcpu));

  STASIS_ASSIGN(std::vector<std::uint32_t> indices, facts.msr_indices());
  indices.insert(indices.begin(), kIa32Tsc);
  std::vector<std::uint32_t> unreadable;
  STASIS_ASSIGN(state.msrs, read_msrs(vcpu, std::move(indices), unreadable));
  for (const std::uint32_t index : unreadable) {
    facts.forget_msr(index);
  }
  if (!state.msrs.empty() && state.msrs.front().index == kIa32Tsc) {
    state.tsc = state.msrs.front().value;
    state.msrs.erase(state.msrs.begin());
  }
  const int khz = vcpu.attempt(kGetTscKhz, 0);
  state.tsc_khz = khz < 0 ? 0 : static_cast<std::uint32_t>(khz);
  return {};
}

Result<void> load_vcpu_before_registers(const KvmFd& vcpu, HostFacts& facts,
                                        const X86VcpuState& state, VcpuHistory history,
                                        VcpuSetup& given) {
  STASIS_ASSIGN(const std::vector<X86CpuidEntry> host, facts.guest_cpuid());
  if (!state.cpuid.empty() && state.cpuid != given.cpuid) {
    if (without_apic_id(state.cpuid) != without_apic_id(host)) {
      STASIS_TRY(check_features(state.cpuid, host));
    }
    auto outcome = set_cpuid(vcpu, state.cpuid);
    if (!outcome) {
      return mismatch("the CPUID list is refused (" + outcome.error().message + ")" +
                      (history == VcpuHistory::kUsed
                           ? ": a vCPU that has run keeps its list; load into a new one"
                           : ""));
    }
    given.cpuid = state.cpuid;
  }
  STASIS_TRY(check_xsave(state, host, facts.features().guest_xcr0, facts.features().xsave_bytes));
  STASIS_TRY(load_tsc_frequency(vcpu, state, facts, given.native_tsc_khz));
  return load_xcrs(vcpu, state, history, facts);
}

Result<void> load_vcpu_after_registers(const KvmFd& vcpu, HostFacts& facts,
                                       const X86VcpuState& state, VcpuHistory history) {
  STASIS_TRY(load_xsave(vcpu, state.xsave, facts));
  if (history == VcpuHistory::kUsed || state.debug != X86DebugRegisters{}) {
    const kvm_debugregs debug = to_kvm(state.debug);
    if (auto outcome = vcpu.apply(kSetDebugregs, &debug); !outcome) {
      return mismatch("the debug registers (dr6 = " + hex(state.debug.dr6) + ", dr7 = " +
                      hex(state.debug.dr7) + ") are refused: " + outcome.error().message);
    }
  }
  if (history == VcpuHistory::kUsed || state.mp_state != X86MpState::kRunnable) {
    const kvm_mp_state mp{static_cast<std::uint32_t>(state.mp_state)};
    if (auto outcome = vcpu.apply(kSetMpState, &mp); !outcome) {
      return mismatch("multiprocessor state " + std::to_string(mp.mp_state) +
                      " is refused: " + outcome.error().message);
    }
  }
  return load_msrs(vcpu, state, facts.features().engine == Engine::kHardware && state.tsc != 0);
}

}  // namespace stasis::kvm
