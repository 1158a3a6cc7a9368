// A vCPU of the mock backend: a toy CPU that knows its thread. Private to mock/.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <thread>

#include "core/hypervisor.h"
#include "mock/mock_vm.h"
#include "mock/toy_cpu.h"

namespace stasis::mock {

// Thread-affine, and refuses every other thread. `vm` outlives it.
class MockVcpu final : public Vcpu {
 public:
  MockVcpu(MockVm& vm, std::uint32_t index);
  ~MockVcpu() override;
  MockVcpu(const MockVcpu&) = delete;
  MockVcpu& operator=(const MockVcpu&) = delete;

  Result<VcpuExit> run() override;
  Result<VcpuExit> run_for(std::uint64_t instructions) override;
  Result<void> complete_read(std::uint64_t value) override;
  [[nodiscard]] Result<VcpuState> save_state() override;
  Result<void> load_state(const VcpuState& state) override;
  [[nodiscard]] std::uint64_t instructions_retired() const override;
  void request_exit() noexcept override;

 private:
  [[nodiscard]] Result<void> check_thread(std::string_view what) const;
  [[nodiscard]] Error misuse(std::string_view message) const;
  VcpuExit run_until(std::uint64_t instructions, ToyMemory& memory);

  // Constant after construction.
  MockVm& vm_;
  const std::uint32_t index_;
  const std::thread::id owner_ = std::this_thread::get_id();

  ToyCpu cpu_;  // The owner thread's.
  // Any thread. Release on request, acquire on the exit: what the requester wrote before is seen.
  std::atomic<bool> exit_requested_ = false;
};

}  // namespace stasis::mock
