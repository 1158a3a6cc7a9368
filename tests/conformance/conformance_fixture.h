// What every conformance test starts from: a backend, its guest kit, memory and VMs.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "tests/conformance/backend_cases.h"
#include "tests/support/must.h"

namespace stasis::conformance {

class ConformanceTest : public testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<HypervisorBackend>> backend = GetParam().make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    kit_ = GetParam().make_kit();
  }

  [[nodiscard]] HypervisorBackend& backend() { return *backend_; }
  [[nodiscard]] const Capabilities& capabilities() const { return backend_->capabilities(); }
  [[nodiscard]] GuestKit& kit() { return *kit_; }
  [[nodiscard]] std::uint64_t page() const { return capabilities().page_size_bytes; }
  // The `index`th page of the part that only the test's programs write.
  [[nodiscard]] GpaRange data_page(std::uint64_t index) const {
    return {kDataBegin + index * page(), page()};
  }

  std::unique_ptr<GuestMemory> make_memory() {
    const RegionSpec spec{.range = {kKitBegin, kKitBytes + kDataBytes}};
    return must(GuestMemory::create({&spec, 1}, page()));
  }

  // A VM and all that must outlive it. Members are destroyed in the right order.
  struct TestVm {
    std::unique_ptr<GuestMemory> memory;
    std::unique_ptr<Vm> vm;
  };
  TestVm make_vm(std::uint32_t vcpus = 1) {
    TestVm made{make_memory(), must(backend().create_vm({.vcpus = vcpus}))};
    must(made.vm->map(*made.memory, Access::kReadWriteExecute));
    return made;
  }
  static std::unique_ptr<Vcpu> make_vcpu(Vm& vm, std::uint32_t index, const VcpuState& state) {
    std::unique_ptr<Vcpu> vcpu = must(vm.create_vcpu(index));
    must(vcpu->load_state(state));
    return vcpu;
  }

  // What a program did until it left the guest for good.
  struct Outcome {
    std::vector<std::uint64_t> reports;  // Without the closing kDone.
    bool is_done = false;                // The last report was kDone.
    bool has_halted = false;
    std::optional<VcpuExit> other;  // The exit that ended it, if it did not halt.
  };
  // Runs until anything but a report; reads are answered with `answer`.
  Outcome run_to_end(Vcpu& vcpu, std::uint64_t answer = 0) {
    Outcome outcome;
    while (true) {
      VcpuExit exit = must(vcpu.run());
      if (const auto* write = std::get_if<ExitIoWrite>(&exit)) {
        EXPECT_EQ(write->access, kit().report());
        outcome.is_done = write->data == kDone;
        if (!outcome.is_done) {
          outcome.reports.push_back(write->data);
        }
      } else if (std::holds_alternative<ExitIoRead>(exit)) {
        must(vcpu.complete_read(answer));
      } else if (std::holds_alternative<ExitHalted>(exit)) {
        outcome.has_halted = true;
        return outcome;
      } else {
        outcome.other = std::move(exit);
        return outcome;
      }
    }
  }
  void expect_finished(const Outcome& outcome) {
    EXPECT_TRUE(outcome.is_done);
    EXPECT_TRUE(outcome.has_halted);
  }

 private:
  std::unique_ptr<HypervisorBackend> backend_;
  std::unique_ptr<GuestKit> kit_;
};

// Guest memory that a running guest writes, read as another vCPU would.
inline std::uint64_t peek(GuestMemory& memory, Gpa gpa) {
  const std::span<std::byte> bytes = must(memory.writable_view({gpa, sizeof(std::uint64_t)}));
  return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(bytes.data()))
      .load(std::memory_order_acquire);
}

// Returns once the guest has changed the number at `gpa` from `from`.
inline void wait_for_change(GuestMemory& memory, Gpa gpa, std::uint64_t from) {
  while (peek(memory, gpa) == from) {
    std::this_thread::yield();
  }
}

inline std::string name_of_case(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.name;
}

}  // namespace stasis::conformance
