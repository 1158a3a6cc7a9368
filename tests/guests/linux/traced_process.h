// A real program, run natively by ptrace(2) while every one of its system calls goes to a Kernel of
// ours and none to the host: the system call layer under real programs, without any VM.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guests/linux/kernel.h"

namespace stasis::linux_guest {

class TracedMemory;

class TracedCpu final : public TrapCpu {
 public:
  explicit TracedCpu(pid_t pid) : pid_(pid) {}
  X86GeneralRegisters& general() override { return general_; }
  [[nodiscard]] std::uint64_t fs_base() const override { return raw_.fs_base; }
  [[nodiscard]] std::uint64_t gs_base() const override { return raw_.gs_base; }
  void set_fs_base(std::uint64_t value) override { raw_.fs_base = value; }
  void set_gs_base(std::uint64_t value) override { raw_.gs_base = value; }
  [[nodiscard]] std::vector<std::byte> extended() override;
  [[nodiscard]] bool set_extended(std::span<const std::byte> xsave) override;

  void load();   // From the stopped process.
  void store();  // Into it.

 private:
  pid_t pid_;
  user_regs_struct raw_{};
  X86GeneralRegisters general_;
};

class TracedProcess {
 public:
  // Starts the program and stops it before its first instruction; null with a reason on stderr.
  static std::unique_ptr<TracedProcess> start(const std::string& path,
                                              const std::vector<std::string>& arguments,
                                              const std::vector<std::string>& environment);
  ~TracedProcess();
  TracedProcess(const TracedProcess&) = delete;
  TracedProcess& operator=(const TracedProcess&) = delete;

  [[nodiscard]] AddressSpace& memory();
  [[nodiscard]] TracedCpu& cpu() { return cpu_; }
  // Until the process has ended or waits for something from outside.
  AfterTrap run(Kernel& kernel);
  // After kWait and a request: goes on.
  AfterTrap wake(Kernel& kernel);

 private:
  explicit TracedProcess(pid_t pid);
  AfterTrap handle_stop(Kernel& kernel, int status);
  pid_t pid_;
  TracedCpu cpu_;
  std::unique_ptr<TracedMemory> memory_;
};

}  // namespace stasis::linux_guest
