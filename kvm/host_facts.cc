#include "kvm/host_facts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "kvm/flexible_array.h"
#include "kvm/host_cpuid.h"

namespace stasis::kvm {
namespace {

constexpr std::size_t kCpuidEntriesMax = 256;  // KVM_MAX_CPUID_ENTRIES of the kernel.
constexpr std::size_t kMsrsMax = 4096;
constexpr std::uint32_t kIa32Tsc = 0x10;

Error open_error(const std::string& path, int os_error) {
  switch (os_error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Error{Errc::kNotFound, os_error,
                   path +
                       " does not exist: this kernel offers no KVM. Load kvm_intel or kvm_amd, "
                       "enable virtualization in the firmware, or, inside a virtual machine, "
                       "let its host allow nested virtualization"};
    case EACCES:
    case EPERM:
      return Error{Errc::kIo, os_error,
                   "no permission to open " + path +
                       ": add the user to the group that owns it (usually: sudo usermod -aG kvm "
                       "$USER, then log in again)"};
    default:
      return errno_error(os_error, "cannot open " + path);
  }
}

// Without these no guest can run as this backend runs it.
struct RequiredCapability {
  unsigned long number;
  std::string_view name;
};
constexpr RequiredCapability kRequired[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
    {KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ"},
};

}  // namespace

Result<std::shared_ptr<HostFacts>> HostFacts::open(const std::string& device_path,
                                                   RegisterTransfer registers) {
  UniqueFd fd(::open(device_path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.is_open()) {
    return open_error(device_path, errno);
  }
  std::shared_ptr<HostFacts> facts(new HostFacts(KvmFd(std::move(fd))));
  STASIS_TRY(facts->ask(device_path));
  if (registers == RegisterTransfer::kByIoctl) {
    facts->features_.shared_registers = 0;
  }
  return facts;
}

Result<void> HostFacts::ask(const std::string& device_path) {
  const int version = system_.attempt(kGetApiVersion, 0);
  if (version < 0) {
    return Error{Errc::kNotSupported, -version,
                 device_path + " is not a KVM device: it does not answer KVM_GET_API_VERSION"};
  }
  if (version != KVM_API_VERSION) {
    return Error{Errc::kNotSupported, 0,
                 device_path + " speaks KVM API version " + std::to_string(version) +
                     ", but version " + std::to_string(KVM_API_VERSION) +
                     " is needed: use a kernel of 2.6.22 or later"};
  }
  std::string missing;
  for (const RequiredCapability& required : kRequired) {
    if (system_.capability(required.number) == 0) {
      missing += missing.empty() ? "" : ", ";
      missing += required.name;
    }
  }
  if (!missing.empty()) {
    return Error{Errc::kNotSupported, 0,
                 device_path + " lacks " + missing + ": use Linux 4.12 or later"};
  }
  STASIS_ASSIGN(const int mapping, system_.call(kGetVcpuMmapSize, 0));
  features_.run_mapping_bytes = static_cast<std::size_t>(mapping);

  // Only one of these modules can serve /dev/kvm at a time. There is no capability for it.
  features_.engine = ::access("/sys/module/kvm_pvm", F_OK) == 0 ? Engine::kPvm : Engine::kHardware;

  const auto value = [this](unsigned long number) {
    return static_cast<std::uint32_t>(system_.capability(number));
  };
  const std::uint32_t slots = value(KVM_CAP_NR_MEMSLOTS);
  features_.slots_max = slots == 0 ? 32 : slots;  // api.rst: 32 where the capability is absent.
  const std::uint32_t recommended = value(KVM_CAP_NR_VCPUS);
  features_.vcpus_max = std::max({value(KVM_CAP_MAX_VCPUS), recommended, 1U});
  features_.shared_registers = value(KVM_CAP_SYNC_REGS);
  const std::uint32_t xsave2_bytes = value(KVM_CAP_XSAVE2);
  features_.has_xsave2 = xsave2_bytes != 0;
  features_.xsave_bytes = std::max<std::size_t>(xsave2_bytes, sizeof(kvm_xsave));
  features_.has_readonly_memory = value(KVM_CAP_READONLY_MEM) != 0;
  features_.manual_dirty_modes =
      value(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
      (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
  features_.dirty_ring_bytes_max = value(KVM_CAP_DIRTY_LOG_RING);
  features_.has_exception_payload = value(KVM_CAP_EXCEPTION_PAYLOAD) != 0;
  features_.has_triple_fault_event = value(KVM_CAP_X86_TRIPLE_FAULT_EVENT) != 0;
  features_.has_exit_on_emulation_failure = value(KVM_CAP_EXIT_ON_EMULATION_FAILURE) != 0;
  features_.has_memory_fault_exit = value(KVM_CAP_MEMORY_FAULT_INFO) != 0;
  features_.has_tsc_scaling = value(KVM_CAP_TSC_CONTROL) != 0;

  kvm_device_attr attribute{};
  attribute.attr = KVM_X86_XCOMP_GUEST_SUPP;
  std::uint64_t supported = 0;
  // The structure's address field is an integer.
  attribute.addr = reinterpret_cast<std::uintptr_t>(&supported);  // NOLINT
  if (system_.attempt(kGetDeviceAttr, &attribute) == 0) {
    features_.guest_xcr0 = supported;
  } else {  // Kernels before 5.18: only components without a permission model.
    features_.guest_xcr0 = host_xcr0() & 0xffU;
  }
  // A component that the host has not enabled cannot be a guest's either.
  features_.guest_xcr0 &= host_xcr0() | 3U;
  return {};
}

Result<std::vector<std::uint32_t>> HostFacts::msr_indices() {
  const MutexLock lock(mutex_);
  if (!msr_indices_.empty()) {
    return msr_indices_;
  }
  FlexibleArray<kvm_msr_list, std::uint32_t> list(kMsrsMax);
  list->nmsrs = kMsrsMax;
  STASIS_TRY(system_.apply(kGetMsrIndexList, list.get()));
  std::vector<std::uint32_t> indices(list->indices, list->indices + list->nmsrs);
  std::sort(indices.begin(), indices.end());
  indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
  std::erase(indices, kIa32Tsc);
  msr_indices_ = std::move(indices);
  return msr_indices_;
}

void HostFacts::forget_msr(std::uint32_t index) {
  const MutexLock lock(mutex_);
  std::erase(msr_indices_, index);
}

Result<std::vector<X86CpuidEntry>> HostFacts::guest_cpuid() {
  const MutexLock lock(mutex_);
  if (guest_cpuid_.empty()) {
    if (features_.engine == Engine::kPvm) {
      guest_cpuid_ = essential_cpuid();
    } else {
      STASIS_ASSIGN(guest_cpuid_, supported_cpuid());
    }
  }
  return guest_cpuid_;
}

Result<std::vector<X86CpuidEntry>> HostFacts::supported_cpuid() const {
  FlexibleArray<kvm_cpuid2, kvm_cpuid_entry2> list(kCpuidEntriesMax);
  list->nent = kCpuidEntriesMax;
  STASIS_TRY(system_.apply(kGetSupportedCpuid, list.get()));
  std::vector<X86CpuidEntry> entries;
  entries.reserve(list->nent);
  for (std::uint32_t i = 0; i < list->nent; ++i) {
    const kvm_cpuid_entry2& entry = list->entries[i];
    entries.push_back(
        {entry.function, entry.index, entry.flags, entry.eax, entry.ebx, entry.ecx, entry.edx});
    if (entry.function == 1) {  // The APIC id of the CPU that happened to answer.
      entries.back().ebx &= 0x00ffffffU;
    }
  }
  return entries;
}

// Under kPvm a guest in ring 3 executes CPUID on the processor and never sees this list; KVM itself
// looks at it to decide which XSAVE components to save, which CR4 bits are legal and how wide a
// physical address is. GET_SUPPORTED_CPUID costs 0.4 ms there and the full list 50 us more for each
// vCPU, so only those leaves are given.
std::vector<X86CpuidEntry> HostFacts::essential_cpuid() const {
  std::vector<X86CpuidEntry> entries;
  const auto add = [&entries](std::uint32_t function, std::uint32_t index, bool indexed) {
    X86CpuidEntry leaf = host_cpuid(function, index);
    leaf.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    entries.push_back(leaf);
    return entries.size() - 1;
  };
  X86CpuidEntry& basic = entries[add(0, 0, false)];
  basic.eax = 0xd;
  X86CpuidEntry& features = entries[add(1, 0, false)];
  features.ebx &= 0x00ffffffU;
  features.ecx &= ~((1U << 3U) | (1U << 5U) | (1U << 6U));  // MONITOR, VMX, SMX: not for guests.
  add(7, 0, true);
  add(7, 1, true);
  X86CpuidEntry& xsave = entries[add(0xd, 0, true)];
  xsave.eax = static_cast<std::uint32_t>(features_.guest_xcr0);
  xsave.edx = static_cast<std::uint32_t>(features_.guest_xcr0 >> 32U);
  for (std::uint32_t component = 2; component < 63; ++component) {
    if (((features_.guest_xcr0 >> component) & 1U) != 0) {
      add(0xd, component, true);
    }
  }
  entries.push_back({0x80000000, 0, 0, 0x80000008, 0, 0, 0});
  add(0x80000001, 0, false);
  add(0x80000008, 0, false);
  return entries;
}

bool HostFacts::host_trusts_counter() {
  const MutexLock lock(mutex_);
  if (!trusts_counter_) {
    std::array<char, 16> name{};
    const UniqueFd fd(::open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                             O_RDONLY | O_CLOEXEC));
    const ssize_t size = fd.get() >= 0 ? ::read(fd.get(), name.data(), name.size()) : 0;
    trusts_counter_ =
        size > 0 && std::string_view(name.data(), static_cast<std::size_t>(size)) == "tsc\n";
  }
  return *trusts_counter_;
}

}  // namespace stasis::kvm
