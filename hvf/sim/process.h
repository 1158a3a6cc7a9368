// What the framework keeps for a process: its one VM with memory, GIC and vCPUs, and the
// configuration objects. The C functions of api_*.cc are thin shells over it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <Hypervisor/Hypervisor.h>

#include "core/mutex.h"
#include "core/result.h"
#include "hvf/sim/engine.h"
#include "hvf/sim/gic_layout.h"
#include "hvf/sim/gic_port.h"
#include "hvf/sim/page_tables.h"
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
struct hv_gic_state_s {
  std::vector<std::byte> bytes;
};

namespace stasis::hvf::sim {

inline constexpr std::uint32_t kVcpusMax = kGuestPesMax;
// An M5 Max under macOS 26.4, as published; another host may have others, so ask.
inline constexpr std::uint32_t kIpaBitsMin = 32;  // Ours: the smallest PARange of the architecture.
inline constexpr std::uint32_t kIpaBitsDefault = 36;
inline constexpr std::uint32_t kIpaBitsMax = 40;

// The VM. Guarded by Process's mutex, but for `engine`, which is thread-safe, and `translations`.
struct Machine {
  Machine(const hv_vm_config_s& config, std::unique_ptr<Engine> processor);

  // What the C functions of these names do when the VM exists. Errors are for last_failure().
  Result<hv_return_t> map(std::byte* host, hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);
  Result<hv_return_t> unmap(hv_ipa_t ipa, std::size_t size);
  Result<hv_return_t> protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);
  // sys_icache_invalidate() for host memory, whether mapped here or not.
  Result<hv_return_t> forget_code(std::uintptr_t host, std::size_t size);

  const std::unique_ptr<Engine> engine;
  Stage2 memory;
  PageTables tables{engine->memory()};
  // Counts changes of the tables. A vCPU says that it is in the guest and then looks at this; who
  // changes the tables counts and then looks for vCPUs in the guest. So either the vCPU forgets its
  // translations as it enters, or it is told to.
  std::atomic<std::uint64_t> translations = 1;
  std::unique_ptr<GicPort> gic;  // Null: none was created. Constant once a vCPU exists.
  std::array<std::unique_ptr<Vcpu>, kVcpusMax> vcpus;  // By handle.
  std::uint32_t vcpus_created = 0;
  std::array<std::uint32_t, kVcpusMax> gic_pes = {};  // By a GIC's number of a CPU.

 private:
  Result<void> forget_translations();
};

// Thread-safe, as far as the framework is. Each method is the C function of that name.
class Process {
 public:
  hv_vm_config_t make_vm_config();
  hv_gic_config_t make_gic_config();
  void release(void* object);  // Aborts for what is not ours, or not any more.
  [[nodiscard]] bool owns(const hv_vm_config_s* config) const;
  [[nodiscard]] bool owns(const hv_gic_config_s* config) const;
  [[nodiscard]] bool owns(const hv_gic_state_s* state) const;

  hv_return_t vm_create(const hv_vm_config_s* config);
  hv_return_t vm_destroy();
  hv_return_t gic_create(const hv_gic_config_s* config);
  hv_return_t gic_reset();
  hv_gic_state_t gic_state_create();
  hv_return_t gic_set_state(std::span<const std::byte> bytes);
  hv_return_t vcpu_create(hv_vcpu_t& vcpu, hv_vcpu_exit_t*& exit);
  hv_return_t vcpu_destroy(hv_vcpu_t vcpu);
  hv_return_t vcpus_exit(const hv_vcpu_t* vcpus, std::uint32_t count);

  hv_return_t vcpu_run(hv_vcpu_t vcpu);

  // Calls action(Machine&) under the lock, HV_NO_DEVICE without a VM. An Error that it returns is
  // HV_ERROR to the caller, and the last failure.
  template <typename Action>
  hv_return_t with_machine(const Action& action) {
    const MutexLock lock(mutex_);
    return machine_ == nullptr ? HV_NO_DEVICE : outcome(action(*machine_));
  }
  // Calls action(Vcpu&, Machine&) on the vCPU's own thread, without the lock: of the Machine it may
  // use what is constant while a vCPU exists (`gic`) and `engine`. HV_BAD_ARGUMENT for a handle
  // that names no vCPU or one of another thread.
  template <typename Action>
  hv_return_t with_vcpu(hv_vcpu_t vcpu, const Action& action) {
    const auto [found, machine] = find_own(vcpu);
    if (found == nullptr) {
      return HV_BAD_ARGUMENT;
    }
    Result<hv_return_t> result = action(*found, *machine);
    const MutexLock lock(mutex_);
    return outcome(std::move(result));
  }

  // The next VM will have at most so many vCPUs: fewer processing elements are faster.
  void expect_vcpus(std::uint32_t vcpus);

  // Why the last call that answered HV_ERROR or HV_NO_RESOURCES did; empty if none did.
  [[nodiscard]] std::string last_failure() const;

 private:
  struct Own {
    Vcpu* vcpu = nullptr;
    Machine* machine = nullptr;
  };
  Own find_own(hv_vcpu_t vcpu) const;
  [[nodiscard]] Own find_own_locked(hv_vcpu_t vcpu) const STASIS_REQUIRES(mutex_);
  hv_return_t outcome(Result<hv_return_t> result) STASIS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::unique_ptr<Machine> machine_ STASIS_GUARDED_BY(mutex_);
  std::string last_failure_ STASIS_GUARDED_BY(mutex_);
  std::uint32_t vcpus_expected_ STASIS_GUARDED_BY(mutex_) = kVcpusMax;
  std::map<const void*, std::unique_ptr<hv_vm_config_s>> vm_configs_ STASIS_GUARDED_BY(mutex_);
  std::map<const void*, std::unique_ptr<hv_gic_config_s>> gic_configs_ STASIS_GUARDED_BY(mutex_);
  std::map<const void*, std::unique_ptr<hv_gic_state_s>> gic_states_ STASIS_GUARDED_BY(mutex_);
};

// The one of this process. A global, because the C interface has no handle for it.
Process& process();

}  // namespace stasis::hvf::sim
