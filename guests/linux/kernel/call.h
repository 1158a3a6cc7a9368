// One system call while it is being served, and the table of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "guests/linux/cpu.h"
#include "guests/linux/kernel/process.h"
#include "guests/linux/kernel/user_access.h"

namespace stasis::linux_guest {

// What a call that must wait says of it.
struct Waiting {
  Wait::Until until = Wait::Until::kReady;
  std::optional<Deadline> deadline = {};
  bool restarts = false;
};

// Lives as long as the handler runs.
struct Call {
  Process& process;
  Thread& thread;
  TrapCpu* cpu = nullptr;  // Null when the call is made again for a thread that is not on the vCPU.
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments = {};
  Wait* resumed = nullptr;   // Of the earlier attempt; null at the first.
  bool is_too_late = false;  // The deadline has passed: the call may not wait again.
  UserAccess user = UserAccess(*process.memory);

  [[nodiscard]] std::uint64_t operator[](std::size_t index) const { return arguments[index]; }
  // Arguments that the kernel takes as int: the upper half of the register is not looked at.
  [[nodiscard]] int as_int(std::size_t index) const {
    return static_cast<int>(static_cast<std::uint32_t>(arguments[index]));
  }
  [[nodiscard]] std::uint32_t as_u32(std::size_t index) const {
    return static_cast<std::uint32_t>(arguments[index]);
  }
  [[nodiscard]] std::int64_t as_i64(std::size_t index) const {
    return static_cast<std::int64_t>(arguments[index]);
  }
  [[nodiscard]] UserAddress address(std::size_t index) const { return {arguments[index]}; }
  [[nodiscard]] std::shared_ptr<File> file(std::size_t index) const {
    return process.descriptors.get(as_int(index));
  }
  // For `return call.wait(...)`. The deadline of the first attempt stays.
  [[nodiscard]] SysResult wait(const Waiting& waiting) const;
};

using Handler = SysResult (*)(Call&);

// How the arguments are shown, one letter each: d a descriptor, p a pointer, s a path, x a bit set,
// u an unsigned and i a signed number.
struct SyscallEntry {
  std::uint16_t number = 0;
  std::string_view name;
  std::string_view arguments;
  Handler handler = nullptr;  // Null: known by name, answered with ENOSYS.
};

[[nodiscard]] std::span<const SyscallEntry> syscall_table();  // Ascending numbers.
[[nodiscard]] const SyscallEntry* find_syscall(std::uint64_t number);
// "openat(d=-100, s=\"/x\", x=0, x=0)". Strings are read from the process, shortened.
[[nodiscard]] std::string describe_call(const Call& call);

}  // namespace stasis::linux_guest
