#include "guests/linux/kernel/call.h"

#include <algorithm>
#include <cstdio>

#include "core/text.h"

namespace stasis::linux_guest {

SysResult Call::wait(const Waiting& waiting) const {
  if (resumed == nullptr) {
    Wait made;
    made.number = number;
    made.arguments = arguments;
    made.until = waiting.until;
    made.deadline = waiting.deadline;
    made.restarts = waiting.restarts;
    thread.wait = made;
  }
  return kBlocked;
}

const SyscallEntry* find_syscall(std::uint64_t number) {
  const auto table = syscall_table();
  const auto* const found =
      std::ranges::lower_bound(table, number, {}, &SyscallEntry::number).base();
  return found != table.data() + table.size() && found->number == number ? found : nullptr;
}

std::string describe_call(const Call& call) {
  const SyscallEntry* const entry = find_syscall(call.number);
  if (entry == nullptr) {
    return "system call " + std::to_string(call.number);
  }
  std::string text = std::string(entry->name) + "(";
  for (std::size_t i = 0; i < entry->arguments.size() && i < call.arguments.size(); ++i) {
    const std::uint64_t value = call[i];
    text += i == 0 ? "" : ", ";
    switch (entry->arguments[i]) {
      case 'd':
      case 'i':
        text += std::to_string(call.as_int(i));
        break;
      case 'u':
        text += std::to_string(value);
        break;
      case 's': {
        auto path = call.user.get_string(call.address(i), 256);
        text += path.ok() ? "\"" + *path + "\"" : hex(value);
        break;
      }
      default:
        text += hex(value);
    }
  }
  return text + ")";
}

}  // namespace stasis::linux_guest
