// Guest RAM as the host's half of a Linux guest writes it: every write is recorded.
#pragma once

#include <cstdint>
#include <span>

#include "core/guest_memory.h"

namespace stasis::linux_guest::vm {

// Borrows the GuestMemory, which may come later than this: until then there is no RAM. Addresses
// may be anything; what is not RAM is an empty span. Only while no vCPU is in the guest.
class GuestRam {
 public:
  GuestRam() = default;
  explicit GuestRam(GuestMemory& memory) : memory_(&memory) {}

  void attach(GuestMemory& memory) { memory_ = &memory; }
  [[nodiscard]] bool is_attached() const { return memory_ != nullptr; }

  [[nodiscard]] std::span<const std::byte> view(Gpa gpa, std::uint64_t size) const;
  // The caller writes all of it: it is recorded as written by the host.
  [[nodiscard]] std::span<std::byte> to_write(Gpa gpa, std::uint64_t size);
  void zero(GpaRange range);

  // A word of a page table. 0, or nothing happens, outside of RAM.
  [[nodiscard]] std::uint64_t load(Gpa gpa) const;
  void store(Gpa gpa, std::uint64_t value);

 private:
  GuestMemory* memory_ = nullptr;
};

}  // namespace stasis::linux_guest::vm
