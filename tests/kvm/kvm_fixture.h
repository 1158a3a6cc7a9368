// What the KVM tests start from: a backend, guest memory with the ring-3 environment, one VM.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "kvm/probe.h"
#include "tests/support/must.h"
#include "tests/support/x86_ring3.h"

namespace stasis::kvm {

inline constexpr std::uint64_t kMib = std::uint64_t{1} << 20U;
inline constexpr std::uint64_t kGib = std::uint64_t{1} << 30U;
inline constexpr std::uint16_t kReportPort = 0x1f0;

// Ends every program: reports nothing, halts.
#define STASIS_X86_HALT "99: hlt\n jmp 99b\n"

class KvmTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend(options_);
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }

  [[nodiscard]] HypervisorBackend& backend() { return *backend_; }
  [[nodiscard]] const Capabilities& capabilities() const { return backend_->capabilities(); }
  [[nodiscard]] bool is_pvm() const {
    return capabilities().clock_policy == ClockPolicy::kHostCounter;
  }

  // RAM of the given ranges, the first of which starts at 0; the environment is written, and
  // everything up to the last range's end plus a MiB is mapped one to one.
  static std::unique_ptr<GuestMemory> make_memory(const std::vector<GpaRange>& ranges,
                                                  HugePages huge_pages = HugePages::kTransparent) {
    std::vector<RegionSpec> specs;
    for (const GpaRange& range : ranges) {
      RegionSpec spec;
      spec.range = range;
      spec.huge_pages = huge_pages;
      specs.push_back(spec);
    }
    auto memory = must(GuestMemory::create(specs, 4096));
    must(x86_ring3::write_environment(*memory, ranges.back().end().value + 4 * kMib));
    return memory;
  }

  // A VM and what must outlive it.
  struct TestVm {
    std::unique_ptr<GuestMemory> memory;
    std::unique_ptr<Vm> vm;
  };
  TestVm make_vm(const std::vector<GpaRange>& ranges = {{Gpa{0}, 4 * kMib}},
                 std::uint32_t vcpus = 1) {
    TestVm made{make_memory(ranges),
                must(backend().create_vm({.vcpus = vcpus, .dirty_ring_entries = ring_entries_}))};
    must(made.vm->map(*made.memory, Access::kReadWriteExecute));
    return made;
  }

  // The state that runs `code` on vCPU `index`.
  X86VcpuState place(GuestMemory& memory, std::span<const std::byte> code,
                     std::uint32_t index = 0) {
    must(x86_ring3::write_code(memory, index, code));
    return x86_ring3::start_state(index, x86_ring3::code_address(index), capabilities());
  }
  static std::unique_ptr<Vcpu> make_vcpu(Vm& vm, const X86VcpuState& state,
                                         std::uint32_t index = 0) {
    auto vcpu = must(vm.create_vcpu(index));
    must(vcpu->load_state(state));
    return vcpu;
  }

  static X86VcpuState save(Vcpu& vcpu) { return std::get<X86VcpuState>(must(vcpu.save_state())); }
  static void expect_halted(const VcpuExit& exit) {
    if (const auto* failed = std::get_if<ExitFailed>(&exit)) {
      ADD_FAILURE() << failed->reason;
    }
    EXPECT_TRUE(std::holds_alternative<ExitHalted>(exit)) << "exit kind " << exit.index();
  }
  static std::string failure_of(const VcpuExit& exit) {
    const auto* failed = std::get_if<ExitFailed>(&exit);
    return failed == nullptr ? "not a failure" : failed->reason;
  }

  Options options_;
  std::uint32_t ring_entries_ = 0;  // Of the VMs that make_vm() makes.

 private:
  std::unique_ptr<HypervisorBackend> backend_;
};

}  // namespace stasis::kvm
