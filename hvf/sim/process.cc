#include "hvf/sim/process.h"

#include <algorithm>
#include <thread>

#include "core/address.h"
#include "core/check.h"

namespace stasis::hvf::sim {
namespace {

constexpr hv_vm_config_s kDefaultConfig{kIpaBitsDefault, HV_IPA_GRANULE_16KB};

std::size_t bytes_of(hv_ipa_granule_t granule) {
  return granule == HV_IPA_GRANULE_4KB ? 0x1000 : 0x4000;
}

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

}  // namespace

Machine::Machine(const hv_vm_config_s& config)
    : memory(bytes_of(config.granule), config.ipa_bits) {}

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
  STASIS_CHECK(vm_configs_.erase(object) + gic_configs_.erase(object) == 1);
}

bool Process::owns(const hv_vm_config_s* config) const {
  const MutexLock lock(mutex_);
  return vm_configs_.contains(config);
}

bool Process::owns(const hv_gic_config_s* config) const {
  const MutexLock lock(mutex_);
  return gic_configs_.contains(config);
}

hv_return_t Process::vm_create(const hv_vm_config_s* config) {
  const MutexLock lock(mutex_);
  if (machine_ != nullptr) {
    return HV_BUSY;
  }
  if (config != nullptr && !vm_configs_.contains(config)) {
    return HV_BAD_ARGUMENT;
  }
  machine_ = std::make_unique<Machine>(config == nullptr ? kDefaultConfig : *config);
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
  if (machine_->gic.has_value() || machine_->vcpus_created != 0) {
    return HV_BUSY;
  }
  machine_->gic = *config;
  return HV_SUCCESS;
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
  if (slot == vcpus.end()) {
    return HV_BAD_ARGUMENT;  // The kernel's answer to a handle above 63.
  }
  *slot = std::make_unique<Vcpu>(self, machine_->vcpus_created++,
                                 machine_->gic.has_value() ? Gic::kPresent : Gic::kAbsent);
  vcpu = static_cast<hv_vcpu_t>(slot - vcpus.begin());
  exit = &(*slot)->exit;
  return HV_SUCCESS;
}

Vcpu* Process::own_vcpu(hv_vcpu_t vcpu) {
  if (machine_ == nullptr || vcpu >= kVcpusMax || machine_->vcpus[vcpu] == nullptr) {
    return nullptr;
  }
  Vcpu* const found = machine_->vcpus[vcpu].get();
  return found->owner == std::this_thread::get_id() ? found : nullptr;
}

hv_return_t Process::vcpu_destroy(hv_vcpu_t vcpu) {
  const MutexLock lock(mutex_);
  if (own_vcpu(vcpu) == nullptr) {
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
    machine_->vcpus[vcpus[i]]->cancel_requested = true;
  }
  return HV_SUCCESS;
}

Process& process() {
  static Process instance;
  return instance;
}

}  // namespace stasis::hvf::sim
