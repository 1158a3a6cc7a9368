// The smallest kernel that static and simple dynamic programs run on, for tests of the VM below it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guests/linux/kernel.h"
#include "guests/linux/vm/program_file.h"

namespace stasis::linux_guest::vm {

// Beside some calls of Linux: 5000 (buffer, size) waits for a request, 5001 (buffer, size)
// responds, 5002 answers 7. A fault of the process ends it with SIGSEGV, unless r14 is 0x7e57: that
// resumes it at r12 with the stack pointer of r13 and 0x10000 | vector << 8 | error code in rax.
class TestKernel final : public Kernel {
 public:
  TestKernel(KernelConfig config, AddressSpace& memory)
      : config_(std::move(config)), memory_(memory) {}

  AfterTrap syscall(TrapCpu& cpu) override;
  AfterTrap fault(TrapCpu& cpu, const Fault& fault) override;
  AfterTrap wake(TrapCpu& cpu) override;
  // Its processes have one thread and no timer.
  AfterTrap preempt(TrapCpu&) override { return AfterTrap::kContinue; }
  [[nodiscard]] RunLimit run_limit() override { return {}; }
  CounterTime follow_counter(Counter, std::uint32_t) override { return {}; }
  [[nodiscard]] std::optional<CounterTime> corrected_time() override { return std::nullopt; }
  [[nodiscard]] std::optional<MonotonicNs> deadline() const override { return deadline_; }
  Result<void> post_request(std::span<const std::byte> request) override;
  [[nodiscard]] bool wants_request() const override { return wants_request_; }
  [[nodiscard]] std::optional<std::vector<std::byte>> take_response() override {
    return std::exchange(response_, std::nullopt);
  }
  [[nodiscard]] const ExitStatus& exit_status() const override { return exit_; }
  [[nodiscard]] std::vector<SyscallCount> counts() const override { return {}; }
  [[nodiscard]] Result<std::vector<std::byte>> save() const override;
  Result<void> load(std::span<const std::byte> state, StaleFiles stale) override;
  [[nodiscard]] std::shared_ptr<const MappedFile> mapped_file(std::uint64_t id) const override;

 private:
  std::int64_t memory_call(std::uint64_t number, const X86GeneralRegisters& r);
  std::int64_t file_call(std::uint64_t number, const X86GeneralRegisters& r);
  std::int64_t output(const X86GeneralRegisters& r);
  std::string text(std::uint64_t address);

  KernelConfig config_;
  AddressSpace& memory_;
  ExitStatus exit_;
  bool wants_request_ = false;
  std::optional<MonotonicNs> deadline_;
  std::optional<std::vector<std::byte>> request_;
  std::optional<std::vector<std::byte>> response_;
  struct OpenFile {
    std::shared_ptr<const ProgramFile> file;
    std::uint64_t offset = 0;
  };
  std::map<int, OpenFile> files_;
  std::vector<std::shared_ptr<const ProgramFile>> opened_;  // The index is the snapshot id.
};

Result<std::unique_ptr<Kernel>> make_test_kernel(KernelConfig config, AddressSpace& memory);

}  // namespace stasis::linux_guest::vm
