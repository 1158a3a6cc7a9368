// <linux/kvm.h> with the same layout and the same request numbers in C++ as in C.
//
// Newer kernel headers declare trailing arrays with __DECLARE_FLEX_ARRAY, whose C form contains an
// empty struct. An empty struct has size 0 in C but 1 in C++, so that sizeof(kvm_cpuid2), and with
// it the number of every request made from it, differ and the kernel answers EINVAL or ENOTTY. This
// header replaces the macro by a plain flexible array before any KVM header is read, and proves the
// result. No other file of the project may include <linux/kvm.h>.
#pragma once

// The rest of this file holds kernel declarations (flexible arrays, C casts): not ours to mend.
#pragma GCC system_header

#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8);
static_assert(sizeof(kvm_msrs) == 8);
static_assert(sizeof(kvm_msr_list) == 4);
static_assert(sizeof(kvm_signal_mask) == 4);
static_assert(sizeof(kvm_xsave) == 4096);
static_assert(KVM_GET_SUPPORTED_CPUID == 0xc008ae05);
static_assert(KVM_SET_CPUID2 == 0x4008ae90);
static_assert(KVM_GET_MSRS == 0xc008ae88);
static_assert(KVM_SET_MSRS == 0x4008ae89);
static_assert(KVM_GET_MSR_INDEX_LIST == 0xc004ae02);
static_assert(KVM_SET_XSAVE == 0x5000aea5);

static_assert(sizeof(kvm_dirty_gfn) == 16);

// Newer than the oldest headers that the project builds with. Values: Documentation/virt/kvm/api.
#ifndef KVM_CAP_MEMORY_FAULT_INFO
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef KVM_VCPU_TSC_CTRL
#define KVM_VCPU_TSC_CTRL 0
#define KVM_VCPU_TSC_OFFSET 0
#endif
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif
#ifndef KVM_CAP_X86_TRIPLE_FAULT_EVENT
#define KVM_CAP_X86_TRIPLE_FAULT_EVENT 218
#endif
