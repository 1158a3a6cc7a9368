// The QEMU process behind a VM, and the bytes to and from its serial port.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis::hvf::sim {

// Ends with this process, however that ends: QEMU is a child of a thread that lives as long as this
// object, and has the kernel kill it when that thread is gone. Thread-safe.
class Qemu {
 public:
  // Called on a thread of its own, one at a time: a byte from the machine, or, last and nothing
  // after it, that QEMU has ended and why.
  struct Listener {
    std::function<void(std::uint8_t)> on_byte;
    std::function<void(const Error&)> on_end;
  };

  // Starts QEMU on `memory_fd`, the machine's RAM of `memory_bytes`, with `pes` processing elements
  // and `program`, an ELF image. Descriptors are borrowed until the destructor. kIo when there is
  // no process; a QEMU that does not like its arguments ends later.
  static Result<std::unique_ptr<Qemu>> start(int memory_fd, std::uint64_t memory_bytes,
                                             int program_fd, std::uint32_t pes, Listener listener);
  ~Qemu();  // kill(), and waits until it is gone; on_end() is called if it was not before.
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;

  void send(std::uint8_t byte);  // Nothing happens if QEMU is gone: on_end() tells.
  void kill();
  [[nodiscard]] std::optional<int> process_id() const;  // Nothing when it is gone.

 private:
  explicit Qemu(Listener listener) : listener_(std::move(listener)) {}

  // On the object's thread.
  void serve(const std::vector<std::string>& arguments, int memory_fd, int program_fd);
  Result<void> spawn(const std::vector<std::string>& arguments, int memory_fd, int program_fd);
  void listen();
  Error reap();

  // Constant after construction.
  Listener listener_;
  UniqueFd serial_;        // Ours of a pair of sockets.
  UniqueFd their_serial_;  // QEMU's; closed here, on its thread, once it has it.
  UniqueFd messages_;      // A file for what QEMU says on its standard error.

  mutable Mutex mutex_;
  ConditionVariable started_;
  std::optional<Result<void>> outcome_ STASIS_GUARDED_BY(mutex_);  // Of spawn().
  int pid_ STASIS_GUARDED_BY(mutex_) = -1;                         // Not reaped yet.

  HostThread thread_;  // Last: it uses the others.
};

// Whether `qemu-system-aarch64` is in PATH, and where.
std::optional<std::string> find_qemu();

}  // namespace stasis::hvf::sim
