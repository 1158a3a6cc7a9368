// The RAM of the simulated machine: one anonymous file that QEMU maps whole, and this process in
// parts. Its first kControlBytes are the monitor's and the stage-2 tables; behind them is what
// callers gave to hv_vm_map().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/result.h"
#include "core/unique_fd.h"
#include "hvf/sim/monitor/mailbox.h"

namespace stasis::hvf::sim {

// Thread-compatible; the bytes are also QEMU's.
class SharedMemory {
 public:
  // How much there is; what nobody has touched takes no memory.
  static constexpr std::uint64_t kBytes = std::uint64_t{64} << 30U;

  static Result<std::unique_ptr<SharedMemory>> create();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] int fd() const { return file_.get(); }
  // Of the control part, by machine-physical address.
  [[nodiscard]] std::byte* control(std::uint64_t address) const {
    return control_ + (address - kRamBase);
  }
  [[nodiscard]] Mailbox& mailbox(std::uint32_t pe) const {
    return *reinterpret_cast<Mailbox*>(control(kMailboxes + pe * kMailboxStride));
  }

  // Makes [host, host + size), which is mapped and a multiple of the host's page size, part of the
  // machine's RAM without changing its contents or its address; returns where in the machine. The
  // mapping there is a shared one of this file from then on, also when this object is gone. No
  // other thread may write to it meanwhile. kIo when the host refuses, kOutOfRange when kBytes are
  // used up: parts are not used twice.
  Result<std::uint64_t> adopt(std::byte* host, std::uint64_t size);

 private:
  SharedMemory(UniqueFd file, std::byte* control) : file_(std::move(file)), control_(control) {}

  UniqueFd file_;
  std::byte* control_;
  std::uint64_t next_ = kControlBytes;  // File offset of the next part.
};

}  // namespace stasis::hvf::sim
