// What the framework keeps for a process: its one VM with memory, GIC and vCPUs, and the
// configuration objects. The C functions of api_*.cc are thin shells over it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <Hypervisor/Hypervisor.h>

#include "core/mutex.h"
#include "hvf/sim/stage2.h"
#include "hvf/sim/vcpu.h"

// The framework's opaque types.
struct hv_vm_config_s {
  std::uint32_t ipa_bits;
  hv_ipa_granule_t granule;
};
struct hv_gic_config_s {
  std::optional<hv_ipa_t> distributor_base, redistributor_base;
};

namespace stasis::hvf::sim {

// An M5 Max under macOS 26.4, as published; another host may have others, so ask.
inline constexpr std::uint32_t kVcpusMax = 64;
inline constexpr std::uint32_t kIpaBitsMin = 32;  // Ours: the smallest PARange of the architecture.
inline constexpr std::uint32_t kIpaBitsDefault = 36;
inline constexpr std::uint32_t kIpaBitsMax = 40;
inline constexpr std::uint64_t kGicAlignmentBytes = 0x10000;
inline constexpr std::uint64_t kDistributorBytes = 0x10000;
inline constexpr std::uint64_t kRedistributorBytes = 0x20000;
inline constexpr std::uint64_t kRedistributorRegionBytes = 0x2000000;
inline constexpr std::uint32_t kSpiBase = 32;
inline constexpr std::uint32_t kSpiCount = 988;

// The VM. Guarded by Process's mutex.
struct Machine {
  explicit Machine(const hv_vm_config_s& config);
  Stage2 memory;
  std::optional<hv_gic_config_s> gic;
  std::array<std::unique_ptr<Vcpu>, kVcpusMax> vcpus;  // By handle.
  std::uint32_t vcpus_created = 0;
};

// Thread-safe, as far as the framework is. Each method is the C function of that name.
class Process {
 public:
  hv_vm_config_t make_vm_config();
  hv_gic_config_t make_gic_config();
  void release(void* object);  // Aborts for what is not ours, or not any more.
  [[nodiscard]] bool owns(const hv_vm_config_s* config) const;
  [[nodiscard]] bool owns(const hv_gic_config_s* config) const;

  hv_return_t vm_create(const hv_vm_config_s* config);
  hv_return_t vm_destroy();
  hv_return_t gic_create(const hv_gic_config_s* config);
  hv_return_t vcpu_create(hv_vcpu_t& vcpu, hv_vcpu_exit_t*& exit);
  hv_return_t vcpu_destroy(hv_vcpu_t vcpu);
  hv_return_t vcpus_exit(const hv_vcpu_t* vcpus, std::uint32_t count);

  // Calls action(Machine&) under the lock, HV_NO_DEVICE without a VM.
  template <typename Action>
  hv_return_t with_machine(const Action& action) {
    const MutexLock lock(mutex_);
    return machine_ == nullptr ? HV_NO_DEVICE : action(*machine_);
  }
  // Calls action(Vcpu&, Machine&) under the lock; HV_BAD_ARGUMENT for a handle that names no vCPU
  // or one of another thread.
  template <typename Action>
  hv_return_t with_vcpu(hv_vcpu_t vcpu, const Action& action) {
    const MutexLock lock(mutex_);
    Vcpu* const found = own_vcpu(vcpu);
    return found == nullptr ? HV_BAD_ARGUMENT : action(*found, *machine_);
  }

 private:
  Vcpu* own_vcpu(hv_vcpu_t vcpu) STASIS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::unique_ptr<Machine> machine_ STASIS_GUARDED_BY(mutex_);
  std::map<const void*, std::unique_ptr<hv_vm_config_s>> vm_configs_ STASIS_GUARDED_BY(mutex_);
  std::map<const void*, std::unique_ptr<hv_gic_config_s>> gic_configs_ STASIS_GUARDED_BY(mutex_);
};

// The one of this process. A global, because the C interface has no handle for it.
Process& process();

}  // namespace stasis::hvf::sim
