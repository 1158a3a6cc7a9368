// The C interface of Apple's Hypervisor.framework for arm64, as far as hvf/ uses it, for hosts that
// have no such framework. On macOS the SDK's header of the same name is used and this one is not
// seen.
//
// Ours in every line; the facts (names, numbers, prototypes, what each call refuses) are those of
// Apple's reference documentation and of the SDK of macOS 26.1. tests/hvf/framework_header_test.cc
// checks each number against the architecture's manual, and on a Mac the same test checks Apple's.
//
// C++ only. Left out because hvf/ does not use them: EL2 (nested) registers and configuration, SME,
// MSI, ICH_* and ICV_*, hv_vm_allocate().
#pragma once

#include <Hypervisor/hv_gic.h>
#include <Hypervisor/hv_types.h>
#include <Hypervisor/hv_vcpu.h>
#include <Hypervisor/hv_vcpu_types.h>
#include <Hypervisor/hv_vm.h>
