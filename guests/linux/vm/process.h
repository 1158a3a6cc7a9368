// A Linux program as the only process of a VM: the device that its traps arrive at.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/machine.h"
#include "core/mutex.h"
#include "core/trap.h"
#include "core/vcpu_state.h"
#include "guests/linux/kernel.h"
#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/program_loader.h"
#include "guests/x86_boot.h"

namespace stasis::linux_guest::vm {

class ByteReader;
class ByteWriter;

// Kernel::create, or a test's.
using KernelFactory =
    std::function<Result<std::unique_ptr<Kernel>>(KernelConfig config, AddressSpace& memory)>;

// What a process needs from its host, whether it starts or is restored. Value.
struct ProcessHost {
  KernelFactory make_kernel;
  std::function<void(int descriptor, std::string_view bytes)> output = {};
  std::function<void(std::span<std::byte>)> random = {};  // Empty: the operating system's source.
  Kernel::StaleFiles stale_files = Kernel::StaleFiles::kRefuse;  // Of a restore.
};

// What is started. `kernel.output` and `kernel.random` are taken from ProcessHost. Value.
struct ProcessOptions {
  KernelConfig kernel;
  std::uint64_t memory_bytes = std::uint64_t{1} << 30U;
  std::uint64_t layout_seed = 0;  // Where the program, its heap, mappings and stack are placed.
  guests::X86Features features;
};

// Between two traps the vCPU is in the process, in the rewriter of ring 0 or in the waiting stub
// (system_tables.h); for the last two the process's registers are kept here. A process that has
// ended is held there, and says so again when it is resumed.
//
// Ready, and held, when the kernel first waits for a request (MachineEvent::kReady), or when one of
// its threads does and others have computed since for a quantum; parked whenever it waits again. A
// response is an event kResponse, the end kExit, or kGuestFailed with the kernel's report if a
// signal ended the process.
//
// Saved state: this, the address space, the kernel. Not saved: responses not yet taken.
//
// Threads: on_trap() on the vCPU's thread; the owner's calls from any.
class LinuxProcess final : public Device, private TrapHandler {
 public:
  static constexpr std::string_view kName = "linux-process";

  // Loads the program into fresh `memory` in the layout of guest_memory_regions().
  static Result<std::shared_ptr<LinuxProcess>> create(ProcessHost host,
                                                      const ProcessOptions& options,
                                                      GuestMemory& memory);
  // load_state() follows.
  static std::shared_ptr<LinuxProcess> create_for_restore(ProcessHost host);

  // The state with which a Machine starts the program. After create().
  [[nodiscard]] MachineState start() const;

  // ---- For the owner of the Machine ----
  // Delivered when the process traps next; wakes it if it waits.
  Result<void> post_request(DeviceHost& host, std::span<const std::byte> request);
  // The oldest response not yet taken. kNotFound when none.
  Result<std::vector<std::byte>> take_response();
  // The time-stamp counter at the first instruction of a restored process that was waiting.
  [[nodiscard]] std::optional<std::uint64_t> first_resumed_counter() const;
  // Only while the Machine is paused.
  [[nodiscard]] const Kernel& kernel() const { return *kernel_; }
  [[nodiscard]] GuestAddressSpace& address_space() { return *space_; }
  // Traps since creation. Only while the Machine is paused.
  struct Counters {
    std::uint64_t system_calls = 0;
    std::uint64_t page_faults = 0;  // Resolved.
    std::uint64_t other_faults = 0;
    std::uint64_t rewrites = 0;  // Entries into the rewriter.
    std::uint64_t rewritten_entries = 0;
    std::uint64_t preemptions = 0;  // Taken out of ring 3 by time or a request.
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

  // ---- Device ----
  [[nodiscard]] std::string_view name() const override { return kName; }
  Result<std::uint64_t> read(std::uint64_t offset, std::uint8_t width_bytes, std::uint32_t vcpu,
                             DeviceHost& host) override;
  Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes, std::uint64_t data,
                             std::uint32_t vcpu, DeviceHost& host) override;
  [[nodiscard]] TrapHandler* trap_handler() override { return this; }
  [[nodiscard]] Result<DeviceState> save_state() const override;
  // Once, after create_for_restore().
  Result<void> load_state(const DeviceState& state) override;

  static constexpr std::size_t kQueuedRequestsMax = 1024;
  static constexpr std::size_t kRequestBytesMax = std::size_t{16} << 20U;

 private:
  enum class Mode : std::uint8_t { kUser = 0, kRewriting = 1, kWaiting = 2, kEnded = 3 };
  class Cpu;

  explicit LinuxProcess(ProcessHost host) : host_(std::move(host)) {}
  [[nodiscard]] KernelConfig kernel_config() const;

  Result<WriteOutcome> on_trap(std::uint64_t offset, X86TrapAccess& access,
                               DeviceHost& host) override;
  Result<WriteOutcome> on_interrupt(X86TrapAccess& access, DeviceHost& host) override;
  Result<InterruptPlan> before_entry(X86TrapAccess& access, DeviceHost& host) override;
  [[nodiscard]] InterruptPlan plan_interrupt();
  void tell_time(X86TrapAccess& access);
  void publish(const CounterTime& time);
  [[nodiscard]] Result<bool> is_preemptible(X86TrapAccess& access,
                                            const X86TrapRegisters& registers);
  Result<void> attach(GuestMemory& memory);
  Result<WriteOutcome> on_system_call(X86TrapAccess& access, const X86TrapRegisters& registers);
  Result<WriteOutcome> on_exception(std::uint8_t vector, X86TrapAccess& access,
                                    const X86TrapRegisters& registers);
  Result<WriteOutcome> on_waited(X86TrapAccess& access, const X86TrapRegisters& registers);
  Result<WriteOutcome> on_rewritten(X86TrapAccess& access);
  Result<WriteOutcome> raise(Cpu& cpu, const Fault& fault);
  [[nodiscard]] bool resolve(const Fault& fault, std::uint64_t rip, Resolution& outcome);
  // What follows a trap: deliver requests, then go on, wait or end.
  Result<WriteOutcome> proceed(Cpu& cpu, AfterTrap after);
  Result<WriteOutcome> enter_process(Cpu& cpu, std::optional<MachineEvent> event);
  Result<WriteOutcome> wait(Cpu& cpu, AfterWrite how, std::optional<MachineEvent> event);
  Result<WriteOutcome> end(Cpu& cpu, MachineEvent event);
  Result<WriteOutcome> give_up(Cpu& cpu, std::string message);
  [[nodiscard]] MachineEvent exit_event() const;
  [[nodiscard]] std::optional<MachineEvent> collect_response();
  [[nodiscard]] Result<bool> deliver_requests();

  void encode_config(ByteWriter& out) const;
  Result<void> decode_config(ByteReader& in);
  Result<void> open_programs();

  // Constant after create() or load_state().
  ProcessHost host_;
  KernelConfig config_;  // Without functions.
  X86VcpuState start_;
  std::shared_ptr<const ProgramFile> executable_;
  std::shared_ptr<const ProgramFile> interpreter_;  // Null: none.
  FileStamp executable_stamp_, interpreter_stamp_;  // What a saved state says of them.
  std::string interpreter_path_;                    // Empty: none.

  // The vCPU's thread, or the owner while that is out of the guest.
  std::unique_ptr<GuestAddressSpace> space_;
  std::unique_ptr<Kernel> kernel_;  // Uses space_.
  GuestRam ram_;
  Mode mode_ = Mode::kUser;
  X86TrapRegisters user_;  // The process's, unless mode_ is kUser.
  MachineEvent ended_;     // In mode kEnded: how, for whoever lets it run again.
  bool was_ready_ = false;
  bool is_restored_ = false;
  bool interrupt_is_due_ = false;  // It came while the process could not be preempted.
  bool has_told_time_ = false;     // The time page is this host's.
  Counters counters_;
  struct {
    std::uint64_t rip = 0, address = 0, times = 0;
  } last_fault_;

  mutable Mutex mutex_;
  std::deque<std::vector<std::byte>> requests_ STASIS_GUARDED_BY(mutex_);
  std::deque<std::vector<std::byte>> responses_ STASIS_GUARDED_BY(mutex_);
  std::optional<std::uint64_t> first_resumed_ STASIS_GUARDED_BY(mutex_);
};

// Attaches the process at its ports.
Result<void> attach_process(DeviceBus& bus, const std::shared_ptr<LinuxProcess>& process);

}  // namespace stasis::linux_guest::vm
