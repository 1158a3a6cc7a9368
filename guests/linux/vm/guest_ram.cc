#include "guests/linux/vm/guest_ram.h"

#include <cstring>

namespace stasis::linux_guest::vm {

std::span<const std::byte> GuestRam::view(Gpa gpa, std::uint64_t size) const {
  if (memory_ == nullptr) {
    return {};
  }
  const auto bytes = memory_->view({gpa, size});
  return bytes ? *bytes : std::span<const std::byte>();
}

std::span<std::byte> GuestRam::to_write(Gpa gpa, std::uint64_t size) {
  if (memory_ == nullptr) {
    return {};
  }
  const auto bytes = memory_->writable_view({gpa, size});
  if (!bytes) {
    return {};
  }
  memory_->host_writes().mark({gpa, size});
  return *bytes;
}

void GuestRam::zero(GpaRange range) {
  const std::span<std::byte> bytes = to_write(range.begin, range.size);
  std::memset(bytes.data(), 0, bytes.size());
}

std::uint64_t GuestRam::load(Gpa gpa) const {
  std::uint64_t value = 0;
  const auto bytes = view(gpa, sizeof(value));
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

void GuestRam::store(Gpa gpa, std::uint64_t value) {
  const auto bytes = to_write(gpa, sizeof(value));
  std::memcpy(bytes.data(), &value, bytes.size());
}

}  // namespace stasis::linux_guest::vm
