// The framework's own GICv3 (macOS 15.0). Numbers of distributor and redistributor registers are
// their offsets, those of ICC_* their MRS encodings (Arm IHI 0069, 12.8 to 12.11).
#pragma once

#include <cstddef>
#include <cstdint>

#include <Hypervisor/hv_types.h>
#include <Hypervisor/hv_vcpu_types.h>

// Both given back with os_release() (os/object.h).
using hv_gic_config_t = struct hv_gic_config_s*;
using hv_gic_state_t = struct hv_gic_state_s*;

// An array is named by its first register; register n is first + 4n (IROUTER: + 8n from INTID 32).
enum hv_gic_distributor_reg_t : std::uint16_t {
  HV_GIC_DISTRIBUTOR_REG_GICD_CTLR = 0x0,
  HV_GIC_DISTRIBUTOR_REG_GICD_TYPER = 0x4,
  HV_GIC_DISTRIBUTOR_REG_GICD_IGROUPR0 = 0x80,
  HV_GIC_DISTRIBUTOR_REG_GICD_ISENABLER0 = 0x100,
  HV_GIC_DISTRIBUTOR_REG_GICD_ICENABLER0 = 0x180,
  HV_GIC_DISTRIBUTOR_REG_GICD_ISPENDR0 = 0x200,
  HV_GIC_DISTRIBUTOR_REG_GICD_ICPENDR0 = 0x280,
  HV_GIC_DISTRIBUTOR_REG_GICD_ISACTIVER0 = 0x300,
  HV_GIC_DISTRIBUTOR_REG_GICD_ICACTIVER0 = 0x380,
  HV_GIC_DISTRIBUTOR_REG_GICD_IPRIORITYR0 = 0x400,
  HV_GIC_DISTRIBUTOR_REG_GICD_ICFGR0 = 0xc00,
  HV_GIC_DISTRIBUTOR_REG_GICD_IROUTER32 = 0x6100,
  HV_GIC_DISTRIBUTOR_REG_GICD_PIDR2 = 0xffe8,
};

enum hv_gic_redistributor_reg_t : std::uint32_t {
  HV_GIC_REDISTRIBUTOR_REG_GICR_TYPER = 0x8,
  HV_GIC_REDISTRIBUTOR_REG_GICR_PIDR2 = 0xffe8,
  HV_GIC_REDISTRIBUTOR_REG_GICR_IGROUPR0 = 0x10080,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ISENABLER0 = 0x10100,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ICENABLER0 = 0x10180,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ISPENDR0 = 0x10200,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ICPENDR0 = 0x10280,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ISACTIVER0 = 0x10300,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ICACTIVER0 = 0x10380,
  HV_GIC_REDISTRIBUTOR_REG_GICR_IPRIORITYR0 = 0x10400,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ICFGR0 = 0x10c00,
  HV_GIC_REDISTRIBUTOR_REG_GICR_ICFGR1 = 0x10c04,
};

enum hv_gic_icc_reg_t : std::uint16_t {
  HV_GIC_ICC_REG_PMR_EL1 = 0xc230,
  HV_GIC_ICC_REG_BPR0_EL1 = 0xc643,
  HV_GIC_ICC_REG_AP0R0_EL1 = 0xc644,
  HV_GIC_ICC_REG_AP1R0_EL1 = 0xc648,
  HV_GIC_ICC_REG_RPR_EL1 = 0xc65b,
  HV_GIC_ICC_REG_BPR1_EL1 = 0xc663,
  HV_GIC_ICC_REG_CTLR_EL1 = 0xc664,
  HV_GIC_ICC_REG_SRE_EL1 = 0xc665,
  HV_GIC_ICC_REG_IGRPEN0_EL1 = 0xc666,
  HV_GIC_ICC_REG_IGRPEN1_EL1 = 0xc667,
};

enum hv_gic_intid_t : std::uint16_t {
  HV_GIC_INT_PERFORMANCE_MONITOR = 23,
  HV_GIC_INT_MAINTENANCE = 25,
  HV_GIC_INT_EL2_PHYSICAL_TIMER = 26,
  HV_GIC_INT_EL1_VIRTUAL_TIMER = 27,
  HV_GIC_INT_EL1_PHYSICAL_TIMER = 30,
};

extern "C" {

hv_gic_config_t hv_gic_config_create();
hv_return_t hv_gic_config_set_distributor_base(hv_gic_config_t config,
                                               hv_ipa_t distributor_base_address);
hv_return_t hv_gic_config_set_redistributor_base(hv_gic_config_t config,
                                                 hv_ipa_t redistributor_base_address);

// After hv_vm_create(), before the first hv_vcpu_create().
hv_return_t hv_gic_create(hv_gic_config_t gic_config);
hv_return_t hv_gic_reset();
hv_return_t hv_gic_set_spi(std::uint32_t intid, bool level);

hv_return_t hv_gic_get_distributor_reg(hv_gic_distributor_reg_t reg, std::uint64_t* value);
hv_return_t hv_gic_set_distributor_reg(hv_gic_distributor_reg_t reg, std::uint64_t value);
hv_return_t hv_gic_get_redistributor_base(hv_vcpu_t vcpu, hv_ipa_t* redistributor_base_address);
hv_return_t hv_gic_get_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t reg,
                                         std::uint64_t* value);
hv_return_t hv_gic_set_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t reg,
                                         std::uint64_t value);
hv_return_t hv_gic_get_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t reg, std::uint64_t* value);
hv_return_t hv_gic_set_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t reg, std::uint64_t value);

hv_return_t hv_gic_get_distributor_size(std::size_t* distributor_size);
hv_return_t hv_gic_get_distributor_base_alignment(std::size_t* distributor_base_alignment);
hv_return_t hv_gic_get_redistributor_region_size(std::size_t* redistributor_region_size);
hv_return_t hv_gic_get_redistributor_size(std::size_t* redistributor_size);
hv_return_t hv_gic_get_redistributor_base_alignment(std::size_t* redistributor_base_alignment);
hv_return_t hv_gic_get_spi_interrupt_range(std::uint32_t* spi_intid_base,
                                           std::uint32_t* spi_intid_count);
hv_return_t hv_gic_get_intid(hv_gic_intid_t interrupt, std::uint32_t* intid);

// nullptr while a vCPU runs or without a GIC. Without the CPU interfaces (ICC_*).
hv_gic_state_t hv_gic_state_create();
hv_return_t hv_gic_state_get_size(hv_gic_state_t state, std::size_t* gic_state_size);
hv_return_t hv_gic_state_get_data(hv_gic_state_t state, void* gic_state_data);
hv_return_t hv_gic_set_state(const void* gic_state_data, std::size_t gic_state_size);

}  // extern "C"
