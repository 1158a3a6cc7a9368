// The device accesses of one KVM exit, handed out one by one.
//
// One exit can carry several: a string input asks for a page of elements at once, and an access
// that crosses a page or is misaligned comes as a fragment of 1 to 8 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/vcpu_exit.h"

namespace stasis::kvm {

enum class IoDirection : std::uint8_t { kRead, kWrite };

// Thread-affine, as its vCPU.
class PendingIo {
 public:
  // `data` lies in the vCPU's kvm_run and stays valid until the next KVM_RUN. Port accesses all go
  // to `address` with `width_bytes` each; memory fragments are cut into powers of two.
  void begin_port(std::uint16_t port, IoDirection direction, std::uint8_t width_bytes,
                  std::span<std::byte> data);
  void begin_mmio(std::uint64_t address, IoDirection direction, std::span<std::byte> data);

  [[nodiscard]] bool has_next() const noexcept { return position_ < data_.size() && !awaiting_; }
  [[nodiscard]] bool awaiting_answer() const noexcept { return awaiting_; }
  // Needs has_next(): the next access, as an ExitIoRead or ExitIoWrite.
  VcpuExit next();
  // Needs awaiting_answer().
  void answer(std::uint64_t value);
  // The access that next() returned last was not delivered: next() will return it once more.
  void hand_out_again();
  // Forgets what was not handed out; unanswered reads get the zeros of a fresh buffer.
  void abandon();

 private:
  IoSpace space_ = IoSpace::kPort;
  IoDirection direction_ = IoDirection::kRead;
  std::uint64_t address_ = 0;
  std::uint8_t port_width_bytes_ = 0;
  std::uint8_t current_bytes_ = 0;
  bool awaiting_ = false;
  std::span<std::byte> data_;
  std::size_t position_ = 0;
};

}  // namespace stasis::kvm
