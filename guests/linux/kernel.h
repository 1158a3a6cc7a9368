// The kernel of a Linux guest: everything behind a system call, seen from the vCPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/result.h"
#include "guests/linux/address_space.h"
#include "guests/linux/cpu.h"

namespace stasis::linux_guest {

// What the kernel asks of its owner. Value.
struct KernelConfig {
  std::vector<std::string> allow_read;   // Host paths, canonical; files and folders below them.
  std::vector<std::string> arguments;    // argv
  std::vector<std::string> environment;  // envp, "NAME=value"
  std::string executable;                // Canonical host path, as /proc/self/exe.
  std::string working_directory = "/";
  std::function<void(int descriptor, std::string_view bytes)> output = {};  // stdout and stderr.
  std::function<void(std::span<std::byte>)> random = {};  // Empty: the operating system's source.
  const Clock* clock = &host_clock();
  std::uint64_t tmpfs_bytes_max = std::uint64_t{256} << 20U;
  std::uint64_t response_bytes_max = std::uint64_t{16} << 20U;
};

// How the process ended. Value.
struct ExitStatus {
  int code = 0;    // exit_group's argument, if signal is 0.
  int signal = 0;  // Killed by it.
  std::string report =
      {};  // For an unhandled signal or an unsupported call: what, where, registers.
};

// A system call as counted. Value.
struct SyscallCount {
  std::uint64_t number = 0;
  std::string_view name;
  std::uint64_t calls = 0;
  std::uint64_t errors = 0;
  bool is_known = true;  // false: answered with ENOSYS.
};

// How long the process may run on without a trap, before Kernel::preempt() is called. Value.
struct RunLimit {
  std::optional<MonotonicNs> until = {};  // On the clock of the configuration.
  bool until_request = false;             // Until post_request(): another thread waits for files.
};

// How the guest's clocks follow from a counter that the host and the guest read alike. Value.
struct CounterTime {
  std::uint64_t counter = 0;  // When the clocks were:
  std::int64_t monotonic_ns = 0;
  std::int64_t real_ns = 0;
  std::uint64_t multiplier =
      0;  // Of one count, in nanoseconds times 2^32. 0: they do not follow it.
};

// One process with its threads, descriptors, file systems, signals and timers. Deterministic given
// its inputs. All calls on the vCPU's thread, or while the vCPU is out of the guest.
class Kernel {
 public:
  static Result<std::unique_ptr<Kernel>> create(KernelConfig config, AddressSpace& memory);
  virtual ~Kernel() = default;

  // The process executed SYSCALL: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9.
  virtual AfterTrap syscall(TrapCpu& cpu) = 0;
  // The process faulted and AddressSpace could not resolve it: a signal, or the end.
  virtual AfterTrap fault(TrapCpu& cpu, const Fault& fault) = 0;
  // The process was taken out between two instructions of ring 3. `cpu` has all registers of the
  // thread that ran, and it must find all of them again.
  virtual AfterTrap preempt(TrapCpu& cpu) = 0;
  // After kContinue. No limit while no other thread could use the vCPU and no timer is running
  // whose signal could interrupt the process.
  [[nodiscard]] virtual RunLimit run_limit() = 0;
  // From now on the clocks follow a counter of `khz` thousand counts a second, which only grows:
  // what system calls tell and what the guest computes from it are the same.
  using Counter = std::function<std::uint64_t()>;
  virtual CounterTime follow_counter(Counter counter, std::uint32_t khz) = 0;
  // The same, when it has become another since: real time is the host's, which may be set.
  [[nodiscard]] virtual std::optional<CounterTime> corrected_time() = 0;
  // After kWait: the owner has something new (a request) or the deadline has passed.
  virtual AfterTrap wake(TrapCpu& cpu) = 0;
  // While waiting: the earliest timer, if any.
  [[nodiscard]] virtual std::optional<MonotonicNs> deadline() const = 0;

  // /dev/stasis. The first read that found no request sets wants_request(): the program is warm.
  virtual Result<void> post_request(std::span<const std::byte> request) = 0;
  [[nodiscard]] virtual bool wants_request() const = 0;
  [[nodiscard]] virtual std::optional<std::vector<std::byte>> take_response() = 0;

  [[nodiscard]] virtual const ExitStatus& exit_status() const = 0;
  [[nodiscard]] virtual std::vector<SyscallCount> counts() const = 0;  // Most calls first.

  // All of it but memory. load() checks every file on the allow-list that is open or mapped against
  // what it was (size, modification time, content hash of small ones): kMismatch naming file and
  // what differs, unless `force`. New entropy, generation id and clock are the owner's to give.
  enum class StaleFiles : std::uint8_t { kRefuse, kAccept };
  [[nodiscard]] virtual Result<std::vector<std::byte>> save() const = 0;
  virtual Result<void> load(std::span<const std::byte> state, StaleFiles stale) = 0;
  // The file behind MappedFile::snapshot_id(), after load(); null if there is none.
  [[nodiscard]] virtual std::shared_ptr<const MappedFile> mapped_file(std::uint64_t id) const = 0;
};

}  // namespace stasis::linux_guest
