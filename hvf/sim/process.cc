#include "hvf/sim/process.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/address.h"
#include "core/check.h"
#include "hvf/sim/guest_run.h"

namespace stasis::hvf::sim {
namespace {

constexpr hv_vm_config_s kDefaultConfig{kIpaBitsDefault, HV_IPA_GRANULE_16KB};

// The redistributors must lie above the distributor; whether "above" means more is not known.
bool is_placed(const hv_gic_config_s& config) {
  if (!config.distributor_base.has_value() || !config.redistributor_base.has_value()) {
    return false;
  }
  const hv_ipa_t distributor = *config.distributor_base;
  const hv_ipa_t redistributor = *config.redistributor_base;
  return is_aligned(distributor, kGicAlignmentBytes) &&
         is_aligned(redistributor, kGicAlignmentBytes) && redistributor > distributor &&
         redistributor - distributor >= kDistributorBytes;
}

bool has_running_vcpu(const Machine& machine) {
  return std::ranges::any_of(machine.vcpus, [](const auto& vcpu) {
    return vcpu != nullptr && vcpu->in_run.load(std::memory_order_seq_cst);
  });
}

}  // namespace

hv_vm_config_t Process::make_vm_config() {
  const MutexLock lock(mutex_);
  auto config = std::make_unique<hv_vm_config_s>(kDefaultConfig);
  hv_vm_config_s* const made = config.get();
  vm_configs_.emplace(made, std::move(config));
  return made;
}

hv_gic_config_t Process::make_gic_config() {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr) {
    return nullptr;  // "Create the GIC configuration after the virtual machine".
  }
  auto config = std::make_unique<hv_gic_config_s>();
  hv_gic_config_s* const made = config.get();
  gic_configs_.emplace(made, std::move(config));
  return made;
}

void Process::release(void* object) {
  const MutexLock lock(mutex_);
  STASIS_CHECK(vm_configs_.erase(object) + gic_configs_.erase(object) + gic_states_.erase(object) ==
               1);
}

bool Process::owns(const hv_vm_config_s* config) const {
  const MutexLock lock(mutex_);
  return vm_configs_.contains(config);
}

bool Process::owns(const hv_gic_config_s* config) const {
  const MutexLock lock(mutex_);
  return gic_configs_.contains(config);
}

bool Process::owns(const hv_gic_state_s* state) const {
  const MutexLock lock(mutex_);
  return gic_states_.contains(state);
}

hv_return_t Process::vm_create(const hv_vm_config_s* config) {
  const MutexLock lock(mutex_);
  if (machine_ != nullptr) {
    return HV_BUSY;
  }
  if (config != nullptr && !vm_configs_.contains(config)) {
    return HV_BAD_ARGUMENT;
  }
  auto engine = Engine::start(std::exchange(vcpus_expected_, kVcpusMax) + 1);
  if (!engine) {
    return outcome(std::move(engine).error());
  }
  machine_ =
      std::make_unique<Machine>(config == nullptr ? kDefaultConfig : *config, *std::move(engine));
  return HV_SUCCESS;
}

hv_return_t Process::vm_destroy() {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr) {
    return HV_NO_DEVICE;
  }
  const bool has_vcpus =
      std::ranges::any_of(machine_->vcpus, [](const auto& vcpu) { return vcpu != nullptr; });
  if (has_vcpus) {
    return HV_BUSY;
  }
  machine_.reset();
  return HV_SUCCESS;
}

hv_return_t Process::gic_create(const hv_gic_config_s* config) {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr) {
    return HV_NO_DEVICE;
  }
  if (!gic_configs_.contains(config) || !is_placed(*config)) {
    return HV_BAD_ARGUMENT;
  }
  if (machine_->gic != nullptr || machine_->vcpus_created != 0) {
    return HV_BUSY;
  }
  // The port's calls come from vCPUs' threads; what they use of the machine is constant by then.
  Machine& machine = *machine_;
  machine.gic = std::make_unique<GicPort>(
      *config->distributor_base, *config->redistributor_base,
      [&machine](std::uint32_t cpu, GicLines lines, GicPort::InGuest in_guest) {
        machine.engine->set_lines(
            machine.gic_pes[cpu], lines.irq, lines.fiq,
            in_guest == GicPort::InGuest::kYes ? Attention::kNeeded : Attention::kNotNeeded);
      });
  return HV_SUCCESS;
}

hv_return_t Process::gic_reset() {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr || machine_->gic == nullptr) {
    return HV_NO_DEVICE;
  }
  if (has_running_vcpu(*machine_)) {
    return HV_BUSY;
  }
  machine_->gic->with([](Gic& gic) {
    gic.reset();
    return true;
  });
  return HV_SUCCESS;
}

hv_gic_state_t Process::gic_state_create() {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr || machine_->gic == nullptr || has_running_vcpu(*machine_)) {
    return nullptr;
  }
  auto state = std::make_unique<hv_gic_state_s>();
  state->bytes = machine_->gic->with([](Gic& gic) { return gic.save(); });
  hv_gic_state_s* const made = state.get();
  gic_states_.emplace(made, std::move(state));
  return made;
}

// "After the GIC and all vCPUs exist and before any of them runs": a state of more CPUs than there
// are is refused, which on a Mac loses their part in silence.
hv_return_t Process::gic_set_state(std::span<const std::byte> bytes) {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr || machine_->gic == nullptr) {
    return HV_NO_DEVICE;
  }
  if (machine_->gic->has_run()) {
    return HV_BUSY;
  }
  const bool is_loaded = machine_->gic->with([bytes](Gic& gic) { return gic.load(bytes); });
  return is_loaded ? HV_SUCCESS : HV_BAD_ARGUMENT;
}

hv_return_t Process::vcpu_create(hv_vcpu_t& vcpu, hv_vcpu_exit_t*& exit) {
  const MutexLock lock(mutex_);
  if (machine_ == nullptr) {
    return HV_NO_DEVICE;
  }
  const std::thread::id self = std::this_thread::get_id();
  auto& vcpus = machine_->vcpus;
  const bool has_one = std::ranges::any_of(
      vcpus, [self](const auto& each) { return each != nullptr && each->owner == self; });
  if (has_one) {
    return HV_BUSY;
  }
  auto* const slot = std::ranges::find_if(vcpus, [](const auto& each) { return each == nullptr; });
  if (slot == vcpus.end() || slot - vcpus.begin() + 1 >= machine_->engine->pes()) {
    return HV_BAD_ARGUMENT;  // The kernel's answer to a handle above 63.
  }
  const auto handle = static_cast<std::uint32_t>(slot - vcpus.begin());
  const std::uint32_t pe = handle + 1;
  Engine& engine = *machine_->engine;
  if (auto failed = engine.power_on(pe); !failed) {
    return outcome(std::move(failed).error());
  }
  static_cast<void>(engine.take_cancel(pe));  // What was asked of the vCPU that had this PE before.
  *slot = std::make_unique<Vcpu>(self, machine_->vcpus_created++, pe,
                                 machine_->gic != nullptr ? GicPresent::kYes : GicPresent::kNo,
                                 engine.mailbox(pe));
  if (machine_->gic != nullptr) {
    const std::uint32_t cpu = (*slot)->creation_index;
    if (cpu >= kVcpusMax) {
      slot->reset();
      return HV_NO_RESOURCES;  // Its frames follow those of all that were created before.
    }
    machine_->gic_pes[cpu] = pe;
    machine_->gic->add_cpu((*slot)->registers.identity(HV_SYS_REG_MPIDR_EL1));
  }
  vcpu = handle;
  exit = &(*slot)->exit;
  return HV_SUCCESS;
}

Process::Own Process::find_own_locked(hv_vcpu_t vcpu) const {
  if (machine_ == nullptr || vcpu >= kVcpusMax || machine_->vcpus[vcpu] == nullptr ||
      machine_->vcpus[vcpu]->owner != std::this_thread::get_id()) {
    return {};
  }
  return {machine_->vcpus[vcpu].get(), machine_.get()};
}

Process::Own Process::find_own(hv_vcpu_t vcpu) const {
  const MutexLock lock(mutex_);
  return find_own_locked(vcpu);
}

hv_return_t Process::vcpu_destroy(hv_vcpu_t vcpu) {
  const MutexLock lock(mutex_);
  if (find_own_locked(vcpu).vcpu == nullptr) {
    return HV_BAD_ARGUMENT;
  }
  machine_->vcpus[vcpu].reset();
  return HV_SUCCESS;
}

hv_return_t Process::vcpus_exit(const hv_vcpu_t* vcpus, std::uint32_t count) {
  const MutexLock lock(mutex_);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (machine_ == nullptr || vcpus[i] >= kVcpusMax || machine_->vcpus[vcpus[i]] == nullptr) {
      return HV_BAD_ARGUMENT;
    }
    const Vcpu& vcpu = *machine_->vcpus[vcpus[i]];
    machine_->engine->cancel(vcpu.pe);
    if (machine_->gic != nullptr) {
      machine_->gic->wake(vcpu.creation_index);
    }
  }
  return HV_SUCCESS;
}

hv_return_t Process::vcpu_run(hv_vcpu_t vcpu) {
  return with_vcpu(vcpu, [](Vcpu& own, Machine& machine) { return run_guest(own, machine); });
}

hv_return_t Process::outcome(Result<hv_return_t> result) {
  if (result) {
    return *result;
  }
  last_failure_ = result.error().to_string();
  return result.error().code == Errc::kOutOfRange ? HV_NO_RESOURCES : HV_ERROR;
}

void Process::expect_vcpus(std::uint32_t vcpus) {
  const MutexLock lock(mutex_);
  vcpus_expected_ = std::clamp(vcpus, 1U, kVcpusMax);
}

std::string Process::last_failure() const {
  const MutexLock lock(mutex_);
  return last_failure_;
}

Process& process() {
  static Process instance;
  return instance;
}

}  // namespace stasis::hvf::sim
