// The one virtual machine of a process, and its memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include <Hypervisor/hv_types.h>

// Given back with os_release() (os/object.h).
using hv_vm_config_t = struct hv_vm_config_s*;

// macOS 26.0. Without it the granule is the host's page, 16 KiB.
enum hv_ipa_granule_t : std::uint32_t {
  HV_IPA_GRANULE_4KB = 0,
  HV_IPA_GRANULE_16KB = 1,
};

extern "C" {

hv_return_t hv_vm_get_max_vcpu_count(std::uint32_t* max_vcpu_count);
hv_return_t hv_vm_create(hv_vm_config_t config);  // nullptr: defaults.
hv_return_t hv_vm_destroy();
hv_return_t hv_vm_map(void* addr, hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);
hv_return_t hv_vm_unmap(hv_ipa_t ipa, std::size_t size);
hv_return_t hv_vm_protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags);

hv_vm_config_t hv_vm_config_create();
hv_return_t hv_vm_config_get_max_ipa_size(std::uint32_t* ipa_bit_length);
hv_return_t hv_vm_config_get_default_ipa_size(std::uint32_t* ipa_bit_length);
hv_return_t hv_vm_config_set_ipa_size(hv_vm_config_t config, std::uint32_t ipa_bit_length);
hv_return_t hv_vm_config_get_ipa_size(hv_vm_config_t config, std::uint32_t* ipa_bit_length);
hv_return_t hv_vm_config_get_default_ipa_granule(hv_ipa_granule_t* granule);
hv_return_t hv_vm_config_get_ipa_granule(hv_vm_config_t config, hv_ipa_granule_t* granule);
hv_return_t hv_vm_config_set_ipa_granule(hv_vm_config_t config, hv_ipa_granule_t granule);

}  // extern "C"
