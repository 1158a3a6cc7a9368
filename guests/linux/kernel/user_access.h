// Typed access to the memory of the process. Whatever is read is copied once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "guests/linux/address_space.h"
#include "guests/linux/kernel/sys_or.h"

namespace stasis::linux_guest {

constexpr std::size_t kPathBytesMax = 4096;              // PATH_MAX, with the final zero.
constexpr std::uint64_t kTransferBytesMax = 0x7ffff000;  // MAX_RW_COUNT: read(2), write(2).
constexpr std::size_t kVectorsMax = 1024;                // UIO_MAXIOV.

struct UserSpan {
  UserAddress begin;
  std::uint64_t size_bytes = 0;
};

// Value: a view of the memory.
class UserAccess {
 public:
  explicit UserAccess(UserMemory& memory) : memory_(&memory) {}

  template <typename T>
  [[nodiscard]] std::optional<T> get(UserAddress from) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    if (memory_->read(from, std::as_writable_bytes(std::span(&value, 1))) != sizeof(T)) {
      return std::nullopt;
    }
    return value;
  }
  // 0 or -EFAULT.
  template <typename T>
  [[nodiscard]] SysResult put(UserAddress to, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return put_bytes(to, std::as_bytes(std::span(&value, 1)));
  }
  [[nodiscard]] SysResult put_bytes(UserAddress to, std::span<const std::byte> bytes) const;
  // Exactly as many as out has room for, or -EFAULT.
  [[nodiscard]] SysResult get_bytes(UserAddress from, std::span<std::byte> out) const;
  template <typename T>
  [[nodiscard]] std::optional<std::vector<T>> get_array(UserAddress from, std::size_t count) const {
    std::vector<T> values(count);  // The caller has bounded `count`.
    const auto bytes = std::as_writable_bytes(std::span(values));
    if (memory_->read(from, bytes) != bytes.size()) {
      return std::nullopt;
    }
    return values;
  }

  // Up to the zero, which is among the `bytes_max` bytes: else ENAMETOOLONG; EFAULT.
  [[nodiscard]] SysOr<std::string> get_string(UserAddress from, std::size_t bytes_max) const;
  [[nodiscard]] SysOr<std::string> get_path(UserAddress from) const {
    return get_string(from, kPathBytesMax);
  }
  // An iovec array, its sum cut to kTransferBytesMax; EINVAL, EFAULT.
  [[nodiscard]] SysOr<std::vector<UserSpan>> get_vectors(UserAddress from,
                                                         std::uint64_t count) const;
  [[nodiscard]] UserMemory& memory() const { return *memory_; }

 private:
  UserMemory* memory_;
};

}  // namespace stasis::linux_guest
