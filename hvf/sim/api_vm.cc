// hv_vm_*, hv_vm_config_* and os_release().
#include <os/object.h>

#include <cstddef>

#include <Hypervisor/Hypervisor.h>

#include "hvf/sim/process.h"

using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;

namespace {

bool is_granule(hv_ipa_granule_t granule) {
  return granule == HV_IPA_GRANULE_4KB || granule == HV_IPA_GRANULE_16KB;
}

}  // namespace

hv_return_t hv_vm_get_max_vcpu_count(std::uint32_t* max_vcpu_count) {
  *max_vcpu_count = stasis::hvf::sim::kVcpusMax;
  return HV_SUCCESS;
}

hv_return_t hv_vm_create(hv_vm_config_t config) {
  return process().vm_create(config);
}

hv_return_t hv_vm_destroy() {
  return process().vm_destroy();
}

hv_return_t hv_vm_map(void* addr, hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags) {
  return process().with_machine([&](Machine& machine) {
    return machine.map(static_cast<std::byte*>(addr), ipa, size, flags);
  });
}

hv_return_t hv_vm_unmap(hv_ipa_t ipa, std::size_t size) {
  return process().with_machine([&](Machine& machine) { return machine.unmap(ipa, size); });
}

hv_return_t hv_vm_protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags) {
  return process().with_machine(
      [&](Machine& machine) { return machine.protect(ipa, size, flags); });
}

hv_vm_config_t hv_vm_config_create() {
  return process().make_vm_config();
}

hv_return_t hv_vm_config_get_max_ipa_size(std::uint32_t* ipa_bit_length) {
  *ipa_bit_length = stasis::hvf::sim::kIpaBitsMax;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_get_default_ipa_size(std::uint32_t* ipa_bit_length) {
  *ipa_bit_length = stasis::hvf::sim::kIpaBitsDefault;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_set_ipa_size(hv_vm_config_t config, std::uint32_t ipa_bit_length) {
  const bool is_possible = ipa_bit_length >= stasis::hvf::sim::kIpaBitsMin &&
                           ipa_bit_length <= stasis::hvf::sim::kIpaBitsMax;
  if (!process().owns(config) || !is_possible) {
    return HV_BAD_ARGUMENT;
  }
  config->ipa_bits = ipa_bit_length;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_get_ipa_size(hv_vm_config_t config, std::uint32_t* ipa_bit_length) {
  if (!process().owns(config)) {
    return HV_BAD_ARGUMENT;
  }
  *ipa_bit_length = config->ipa_bits;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_get_default_ipa_granule(hv_ipa_granule_t* granule) {
  *granule = HV_IPA_GRANULE_16KB;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_get_ipa_granule(hv_vm_config_t config, hv_ipa_granule_t* granule) {
  if (!process().owns(config)) {
    return HV_BAD_ARGUMENT;
  }
  *granule = config->granule;
  return HV_SUCCESS;
}

hv_return_t hv_vm_config_set_ipa_granule(hv_vm_config_t config, hv_ipa_granule_t granule) {
  if (!process().owns(config) || !is_granule(granule)) {
    return HV_BAD_ARGUMENT;
  }
  config->granule = granule;
  return HV_SUCCESS;
}

void os_release(void* object) {
  process().release(object);
}
