// futex(2). There is one process, so an address is a key, private or not. The operations with
// priority inheritance are not there (ENOSYS): the C library does without.
#include <errno.h>
#include <linux/futex.h>

#include <algorithm>
#include <vector>

#include "guests/linux/calls/futexes.h"
#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"

namespace stasis::linux_guest {
namespace {

std::vector<Wait*> waiters(Threads& threads, UserAddress at) {
  std::vector<Wait*> found;
  for (auto& [id, thread] : threads.all()) {
    if (thread.wait && thread.wait->until == Wait::Until::kWoken && !thread.wait->is_woken &&
        thread.wait->futex == at) {
      found.push_back(&*thread.wait);
    }
  }
  std::ranges::sort(found, {}, &Wait::order);
  return found;
}

SysOr<std::optional<Deadline>> futex_deadline(Call& call, int command, bool is_real) {
  if (command == FUTEX_WAIT || call[3] == 0) {
    return deadline_after(call, call.address(3));
  }
  const auto time = call.user.get<timespec>(call.address(3));  // FUTEX_WAIT_BITSET: absolute.
  if (!time) {
    return Errno{EFAULT};
  }
  const auto ns = ns_of(*time);
  if (!ns) {
    return Errno{EINVAL};
  }
  return std::optional(Deadline{is_real ? ClockKind::kReal : ClockKind::kMonotonic, *ns});
}

SysResult wait_at(Call& call, int command, std::uint32_t mask) {
  if (call.resumed != nullptr) {
    return call.resumed->is_woken ? 0 : -ETIMEDOUT;
  }
  if (mask == 0) {
    return -EINVAL;
  }
  auto deadline = futex_deadline(call, command, (call.as_int(1) & FUTEX_CLOCK_REALTIME) != 0);
  if (!deadline.ok()) {
    return deadline.error();
  }
  const auto value = call.user.get<std::uint32_t>(call.address(0));
  if (!value) {
    return -EFAULT;
  }
  if (*value != call.as_u32(2)) {
    return -EAGAIN;
  }
  if (*deadline && call.process.clock.is_past(**deadline)) {
    return -ETIMEDOUT;
  }
  const SysResult blocked = call.wait({Wait::Until::kWoken, *deadline, !deadline->has_value()});
  call.thread.wait->futex = call.address(0);
  call.thread.wait->futex_mask = mask;
  call.thread.wait->order = call.process.threads.next_order();
  return blocked;
}

SysResult requeue(Call& call, bool compares) {
  if (call.as_int(2) < 0 || call.as_int(3) < 0 || call[4] % 4 != 0) {
    return -EINVAL;
  }
  if (compares) {
    const auto value = call.user.get<std::uint32_t>(call.address(0));
    if (!value) {
      return -EFAULT;
    }
    if (*value != call.as_u32(5)) {
      return -EAGAIN;
    }
  }
  const int woken = wake_futex(call.process.threads, call.address(0), call.as_int(2), kFutexAny);
  int moved = 0;
  for (Wait* const waiter : waiters(call.process.threads, call.address(0))) {
    if (moved == call.as_int(3)) {
      break;
    }
    waiter->futex = call.address(4);
    ++moved;
  }
  return woken + moved;
}

std::int32_t sign_extended(std::uint32_t bits) {  // Of 12 bits.
  return static_cast<std::int32_t>(bits << 20U) >> 20U;
}

std::optional<std::uint32_t> operate(std::uint32_t operation, std::uint32_t old, std::uint32_t by) {
  switch (operation) {
    case FUTEX_OP_SET:
      return by;
    case FUTEX_OP_ADD:
      return old + by;
    case FUTEX_OP_OR:
      return old | by;
    case FUTEX_OP_ANDN:
      return old & ~by;
    case FUTEX_OP_XOR:
      return old ^ by;
    default:
      return std::nullopt;
  }
}

std::optional<bool> compare(std::uint32_t comparison, std::int32_t old, std::int32_t with) {
  switch (comparison) {
    case FUTEX_OP_CMP_EQ:
      return old == with;
    case FUTEX_OP_CMP_NE:
      return old != with;
    case FUTEX_OP_CMP_LT:
      return old < with;
    case FUTEX_OP_CMP_LE:
      return old <= with;
    case FUTEX_OP_CMP_GT:
      return old > with;
    case FUTEX_OP_CMP_GE:
      return old >= with;
    default:
      return std::nullopt;
  }
}

SysResult wake_and_operate(Call& call) {
  const std::uint32_t encoded = call.as_u32(5);
  std::uint32_t by = static_cast<std::uint32_t>(sign_extended((encoded >> 12U) & 0xfffU));
  if ((encoded >> 31U) != 0) {  // FUTEX_OP_OPARG_SHIFT
    by = 1U << (by & 31U);
  }
  const auto old = call.user.get<std::uint32_t>(call.address(4));
  if (!old) {
    return -EFAULT;
  }
  const auto made = operate((encoded >> 28U) & 7U, *old, by);
  const auto is_true = compare((encoded >> 24U) & 15U, static_cast<std::int32_t>(*old),
                               sign_extended(encoded & 0xfffU));
  if (!made || !is_true) {
    return -ENOSYS;
  }
  if (call.user.put(call.address(4), *made) != 0) {
    return -EFAULT;
  }
  int woken = wake_futex(call.process.threads, call.address(0), call.as_int(2), kFutexAny);
  if (*is_true) {
    woken += wake_futex(call.process.threads, call.address(4), call.as_int(3), kFutexAny);
  }
  return woken;
}

}  // namespace

int wake_futex(Threads& threads, UserAddress at, int count_max, std::uint32_t mask) {
  int woken = 0;
  for (Wait* const waiter : waiters(threads, at)) {
    if (woken >= count_max) {
      break;
    }
    if ((waiter->futex_mask & mask) != 0) {
      waiter->is_woken = true;
      ++woken;
    }
  }
  return woken;
}

SysResult sys_futex(Call& call) {
  const int command = call.as_int(1) & FUTEX_CMD_MASK;
  if (call[0] % 4 != 0 || call[0] >= kUserSpaceEnd) {
    return call[0] % 4 != 0 ? -EINVAL : -EFAULT;
  }
  switch (command) {
    case FUTEX_WAIT:
      return wait_at(call, command, kFutexAny);
    case FUTEX_WAIT_BITSET:
      return wait_at(call, command, call.as_u32(5));
    case FUTEX_WAKE:
      return wake_futex(call.process.threads, call.address(0), call.as_int(2), kFutexAny);
    case FUTEX_WAKE_BITSET:
      return call.as_u32(5) == 0 ? -EINVAL
                                 : wake_futex(call.process.threads, call.address(0), call.as_int(2),
                                              call.as_u32(5));
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
      return requeue(call, command == FUTEX_CMP_REQUEUE);
    case FUTEX_WAKE_OP:
      return wake_and_operate(call);
    default:
      return -ENOSYS;
  }
}

}  // namespace stasis::linux_guest
