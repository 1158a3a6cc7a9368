#include "kvm/failure_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kvm/x86_transfer.h"

namespace stasis::kvm {
namespace {

std::string instruction_bytes(const kvm_run* run) {
  const auto& failure = run->emulation_failure;
  const bool has_bytes = failure.ndata >= 3 &&
                         (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
  if (!has_bytes) {
    return {};
  }
  std::string text = ", instruction bytes";
  const std::size_t count = std::min<std::size_t>(failure.insn_size, sizeof(failure.insn_bytes));
  for (std::size_t i = 0; i < count; ++i) {
    text += ' ';
    text += hex(failure.insn_bytes[i]).substr(2);
  }
  return text;
}

std::string internal_error(const kvm_run* run) {
  switch (run->internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "KVM could not emulate an instruction (it touches memory that is not RAM, or is one "
             "that KVM does not know)" +
             instruction_bytes(run);
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "KVM met an exception while it delivered another";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "KVM could not deliver an exception: the guest's tables are not in RAM";
    default:
      return "KVM internal error, suberror " + std::to_string(run->internal.suberror);
  }
}

}  // namespace

std::string describe_position(const KvmFd& vcpu) {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (vcpu.attempt(kGetRegs, &regs) != 0 || vcpu.attempt(kGetSregs, &sregs) != 0) {
    return {};
  }
  return " at rip " + hex(regs.rip) + " (ring " + std::to_string(sregs.cs.selector & 3U) +
         ", rsp " + hex(regs.rsp) + ", cr2 " + hex(sregs.cr2) + ", cr3 " + hex(sregs.cr3) + ")";
}

std::string describe_failure(const KvmFd& vcpu, const kvm_run* run) {
  switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return "triple fault: an exception whose handler could not be reached" +
             describe_position(vcpu);
    case KVM_EXIT_INTERNAL_ERROR:
      return internal_error(run) + describe_position(vcpu);
    case KVM_EXIT_FAIL_ENTRY:
      return "the processor refused to enter the guest, hardware reason " +
             hex(run->fail_entry.hardware_entry_failure_reason) + describe_position(vcpu);
    default:
      return "the guest stopped with " + std::string(exit_reason_name(run->exit_reason)) + " (" +
             std::to_string(run->exit_reason) + ")" + describe_position(vcpu);
  }
}

Error describe_refusal(const KvmFd& vcpu, const kvm_run* run, int os_error) {
  Error error = KvmFd::request_error("KVM_RUN", os_error);
  if (run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
    // flags, gpa and size of the exit's structure (api.rst, KVM_EXIT_MEMORY_FAULT), which older
    // headers lack.
    std::uint64_t gpa = 0;
    std::memcpy(&gpa, run->padding + sizeof(std::uint64_t), sizeof(gpa));
    error.message += ": the host has no page for guest address " + hex(gpa);
  } else if (os_error == EFAULT) {
    error.message +=
        ": the host could not provide a page of guest RAM (KVM does not say which). Its mapping "
        "forbids the access, its file is shorter than the mapping, or the machine is out of "
        "memory";
  }
  error.message += describe_position(vcpu);
  return error;
}

}  // namespace stasis::kvm
