#include "mock/mock_vcpu.h"

#include <limits>
#include <string>
#include <utility>
#include <variant>

namespace stasis::mock {

MockVcpu::MockVcpu(MockVm& vm, std::uint32_t index) : vm_(vm), index_(index) {}

MockVcpu::~MockVcpu() {
  // A destructor cannot refuse, and Hypervisor.framework does: this is a bug of the caller.
  STASIS_CHECK(std::this_thread::get_id() == owner_);
}

Error MockVcpu::misuse(std::string_view message) const {
  return Error{Errc::kInvalidArgument, 0,
               "mock: vCPU " + std::to_string(index_) + ": " + std::string(message)};
}

Result<void> MockVcpu::check_thread(std::string_view what) const {
  if (std::this_thread::get_id() != owner_) {
    return misuse(std::string(what) +
                  ": called on another thread than the one that created the vCPU; a vCPU is "
                  "created, used and destroyed on one thread (only request_exit() is free)");
  }
  return {};
}

Result<VcpuExit> MockVcpu::run() {
  return run_for(std::numeric_limits<std::uint64_t>::max());
}

Result<VcpuExit> MockVcpu::run_for(std::uint64_t instructions) {
  STASIS_TRY(check_thread("run"));
  if (cpu_.has_unanswered_read()) {
    return misuse("run: the guest waits for the value of a read; call complete_read() first");
  }
  STASIS_ASSIGN(ToyMemory* const memory, vm_.enter_guest());
  VcpuExit exit = run_until(instructions, *memory);
  vm_.leave_guest();
  return exit;
}

VcpuExit MockVcpu::run_until(std::uint64_t instructions, ToyMemory& memory) {
  const std::uint64_t begin = cpu_.state().instructions;
  while (true) {
    // The plain load first: an exchange for every instruction would cost more than the instruction.
    if (exit_requested_.load(std::memory_order_relaxed) &&
        exit_requested_.exchange(false, std::memory_order_acquire)) {
      return ExitCanceled{};
    }
    if (cpu_.state().instructions - begin >= instructions) {
      return ExitCanceled{};
    }
    if (std::optional<VcpuExit> exit = cpu_.step(memory)) {
      return *std::move(exit);
    }
  }
}

Result<void> MockVcpu::complete_read(std::uint64_t value) {
  STASIS_TRY(check_thread("complete a read"));
  if (!cpu_.has_unanswered_read()) {
    return misuse("complete a read: the guest does not wait for one");
  }
  cpu_.complete_read(value);
  return {};
}

Result<VcpuState> MockVcpu::save_state() {
  STASIS_TRY(check_thread("save the state"));
  if (cpu_.has_unanswered_read()) {
    return misuse(
        "save the state: a read of the guest is unanswered, so its instruction is not "
        "complete; call complete_read() first");
  }
  return VcpuState(cpu_.state());
}

Result<void> MockVcpu::load_state(const VcpuState& state) {
  STASIS_TRY(check_thread("load a state"));
  const auto* toy = std::get_if<ToyVcpuState>(&state);
  if (toy == nullptr) {
    return Error{Errc::kMismatch, 0,
                 "mock: vCPU " + std::to_string(index_) + ": the state is of architecture " +
                     std::string(name_of(architecture_of(state))) + ", this CPU is " +
                     std::string(name_of(Architecture::kToy))};
  }
  cpu_.set_state(*toy);
  return {};
}

std::uint64_t MockVcpu::instructions_retired() const {
  return cpu_.state().instructions;
}

void MockVcpu::request_exit() noexcept {
  exit_requested_.store(true, std::memory_order_release);
}

}  // namespace stasis::mock
