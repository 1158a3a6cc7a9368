// A Linux program in a VM, as far as the tests of guests/linux/vm need one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/machine.h"
#include "guests/linux/vm/process.h"

namespace stasis::linux_guest::vm {

// Output of a process, from the vCPU's thread. Thread-safe.
class Captured {
 public:
  void append(std::string_view text) {
    const std::lock_guard lock(mutex_);
    text_ += text;
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

struct RunOptions {
  KernelFactory kernel = {};
  std::vector<std::string> arguments = {};  // After the program's name.
  std::vector<std::string> environment = {};
  std::vector<std::string> allow_read = {"/usr", "/lib", "/lib64"};
  std::uint64_t memory_bytes = std::uint64_t{64} << 20U;
  std::uint64_t layout_seed = 1;
};

class RunningProcess {
 public:
  static Result<std::unique_ptr<RunningProcess>> start(HypervisorBackend& backend,
                                                       const std::string& program,
                                                       const RunOptions& options);
  // A second VM that goes on from where this one, which is paused, is.
  Result<std::unique_ptr<RunningProcess>> clone(HypervisorBackend& backend,
                                                const KernelFactory& kernel);

  Result<MachineEvent> next_event(std::chrono::seconds timeout = std::chrono::seconds(20)) {
    return machine_->wait_event(timeout);
  }
  // Runs it to its end: the exit code.
  Result<std::uint64_t> run_to_exit();
  Result<std::vector<std::byte>> request(std::span<const std::byte> bytes);

  [[nodiscard]] Machine& machine() { return *machine_; }
  [[nodiscard]] LinuxProcess& process() { return *process_; }
  [[nodiscard]] std::string output() const { return output_->text(); }

 private:
  std::shared_ptr<Captured> output_ = std::make_shared<Captured>();
  std::shared_ptr<LinuxProcess> process_;
  std::unique_ptr<Machine> machine_;
};

// The host's AVX and so on, for ProcessOptions.
guests::X86Features features_of(const HypervisorBackend& backend);

}  // namespace stasis::linux_guest::vm
