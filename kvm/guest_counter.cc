#include "kvm/guest_counter.h"

#include <x86intrin.h>

#include <string>
#include <system_error>

#include "kvm/flexible_array.h"

namespace stasis::kvm {
namespace {

constexpr std::uint32_t kIa32Tsc = 0x10;
// A try that was interrupted is wider than its neighbours.
constexpr int kTries = 5;

Error unknown_counter(std::string_view request, int os_error) {
  return Error{
      Errc::kNotSupported, os_error,
      "KVM does not tell the guest's time-stamp counter: " + std::string(request) + ": " +
          (os_error == 0 ? "the MSR is not known" : std::generic_category().message(os_error))};
}

// Not before earlier instructions have ended, and before later ones begin (Intel SDM vol. 2B,
// RDTSC; AMD APM vol. 3, LFENCE).
std::uint64_t host_tsc() {
  _mm_lfence();
  const std::uint64_t value = __rdtsc();
  _mm_lfence();
  return value;
}

}  // namespace

std::optional<std::uint64_t> tsc_offset(const KvmFd& vcpu) {
  std::uint64_t offset = 0;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  // The structure's address field is an integer.
  attribute.addr = reinterpret_cast<std::uintptr_t>(&offset);  // NOLINT
  if (vcpu.attempt(kGetDeviceAttr, &attribute) != 0) {
    return std::nullopt;
  }
  return offset;
}

Result<CounterRelation> bracket_tsc(const KvmFd& vcpu, std::uint32_t guest_khz,
                                    std::uint32_t host_khz) {
  FlexibleArray<kvm_msrs, kvm_msr_entry> msrs(1);
  std::optional<CounterRelation> best;
  for (int i = 0; i < kTries; ++i) {
    msrs->nmsrs = 1;
    msrs->entries[0].index = kIa32Tsc;
    const std::uint64_t before = host_tsc();
    const int answer = vcpu.attempt(kGetMsrs, msrs.get());
    const std::uint64_t after = host_tsc();
    if (answer != 1) {  // The answer is how many were read.
      return unknown_counter(kGetMsrs.name, answer < 0 ? -answer : 0);
    }
    const auto relation =
        relation_of_bracket(before, msrs->entries[0].data, after, guest_khz, host_khz);
    if (relation && (!best || relation->error_ticks < best->error_ticks)) {
      best = relation;
    }
  }
  if (!best) {
    return Error{Errc::kNotSupported, 0, "the host's own time-stamp counter runs backwards"};
  }
  return *best;
}

Result<CounterRelation> read_counter_relation(const KvmFd& vcpu, std::uint32_t native_khz) {
  const int answer = vcpu.attempt(kGetTscKhz, 0);
  if (answer <= 0) {  // EIO: the host's counter is unstable.
    return unknown_counter(kGetTscKhz.name, -answer);
  }
  const auto guest_khz = static_cast<std::uint32_t>(answer);
  const std::uint32_t host_khz = native_khz == 0 ? guest_khz : native_khz;
  if (guest_khz == host_khz) {
    if (const std::optional<std::uint64_t> offset = tsc_offset(vcpu)) {
      return relation_of_offset(*offset);
    }
  }
  return bracket_tsc(vcpu, guest_khz, host_khz);
}

}  // namespace stasis::kvm
