// clone(2) of threads, exit(2), and the calls for which one process would have to be two.
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>

#include "core/text.h"
#include "guests/linux/calls/futexes.h"
#include "guests/linux/calls/handlers.h"
#include "guests/linux/kernel/crash_report.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kThreadFlags = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
constexpr std::size_t kRobustMax = 2048;  // ROBUST_LIST_LIMIT

// clone's and clone3's arguments alike.
struct CloneRequest {
  std::uint64_t flags = 0;
  std::uint64_t stack_top = 0;
  UserAddress parent_tid, child_tid;
  std::uint64_t tls = 0;
};

// A call that asks for a second process: refused, and said where it came from.
SysResult refuse(Call& call, const char* what) {
  call.process.note(
      std::string(what) + " is not supported in a guest of one process: " + describe_call(call) +
      " at " +
      describe_code_address(*call.process.memory, call.cpu->general().rip, CodeAddress::kReturn) +
      "; it failed with ENOSYS");
  return -ENOSYS;
}

SysResult clone_thread(Call& call, const CloneRequest& request) {
  if ((request.flags & kThreadFlags) != kThreadFlags) {
    return refuse(call,
                  (request.flags & CLONE_VM) != 0 ? "a second process in the same memory" : "fork");
  }
  constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                        CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
  if ((request.flags & kNamespaces) != 0) {
    return -EPERM;
  }
  if (((request.flags & CLONE_SETTLS) != 0 && request.tls >= kUserSpaceEnd) ||
      request.stack_top > kUserSpaceEnd) {
    return -EPERM;
  }
  Threads& threads = call.process.threads;
  if (threads.all().size() >= kThreadsMax) {
    return -EAGAIN;
  }
  Thread made;
  made.id = threads.next_id();
  made.name = call.thread.name;
  made.blocked = call.thread.blocked;
  made.context.general = call.cpu->general();
  made.context.general.rax = 0;
  if (request.stack_top != 0) {
    made.context.general.rsp = request.stack_top;
  }
  made.context.fs_base = (request.flags & CLONE_SETTLS) != 0 ? request.tls : call.cpu->fs_base();
  made.context.gs_base = call.cpu->gs_base();
  made.context.xsave = call.cpu->extended();
  const std::int32_t id = made.id;
  if ((request.flags & CLONE_PARENT_SETTID) != 0 && call.user.put(request.parent_tid, id) != 0) {
    return -EFAULT;
  }
  if ((request.flags & CLONE_CHILD_SETTID) != 0 && call.user.put(request.child_tid, id) != 0) {
    return -EFAULT;
  }
  if ((request.flags & CLONE_CHILD_CLEARTID) != 0) {
    made.clear_child_tid = request.child_tid;
  }
  threads.add(std::move(made));
  return id;
}

// A futex that the ended thread held: FUTEX_OWNER_DIED, and one waiter woken.
void release_robust(Process& process, const UserAccess& user, UserAddress futex, int thread_id) {
  const auto value = user.get<std::uint32_t>(futex);
  if (!value || (*value & FUTEX_TID_MASK) != static_cast<std::uint32_t>(thread_id)) {
    return;
  }
  const std::uint32_t died = (*value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
  if (user.put(futex, died) == 0 && (*value & FUTEX_WAITERS) != 0) {
    wake_futex(process.threads, futex, 1, kFutexAny);
  }
}

void release_robust_list(Process& process, const UserAccess& user, const Thread& thread) {
  struct Head {
    std::uint64_t next;
    std::int64_t futex_offset;
    std::uint64_t pending;
  };
  const auto head = user.get<Head>(thread.robust_list);
  if (thread.robust_list.value == 0 || !head) {
    return;
  }
  const auto futex_at = [&](std::uint64_t entry) {
    return UserAddress{entry + static_cast<std::uint64_t>(head->futex_offset)};
  };
  std::uint64_t entry = head->next & ~std::uint64_t{1};
  for (std::size_t count = 0; entry != thread.robust_list.value && count < kRobustMax; ++count) {
    const auto next = user.get<std::uint64_t>(UserAddress{entry});
    if (entry != (head->pending & ~std::uint64_t{1})) {
      release_robust(process, user, futex_at(entry), thread.id);
    }
    if (!next) {
      return;
    }
    entry = *next & ~std::uint64_t{1};
  }
  if (head->pending != 0) {
    release_robust(process, user, futex_at(head->pending & ~std::uint64_t{1}), thread.id);
  }
}

}  // namespace

SysResult sys_clone(Call& call) {
  return clone_thread(call, {call[0] & ~std::uint64_t{CSIGNAL}, call[1], call.address(2),
                             call.address(3), call[4]});
}

SysResult sys_clone3(Call& call) {
  clone_args arguments{};
  if (call[1] < CLONE_ARGS_SIZE_VER0 || call[1] > kPageBytes) {
    return call[1] < CLONE_ARGS_SIZE_VER0 ? -EINVAL : -E2BIG;
  }
  const auto bytes = std::as_writable_bytes(std::span(&arguments, 1));
  if (call[1] > sizeof arguments) {
    return -E2BIG;
  }
  if (call.user.get_bytes(call.address(0), bytes.first(call[1])) != 0) {
    return -EFAULT;
  }
  if (arguments.set_tid_size != 0 || (arguments.stack == 0) != (arguments.stack_size == 0) ||
      (arguments.flags & CSIGNAL) != 0) {
    return -EINVAL;
  }
  std::uint64_t top = 0;
  if (__builtin_add_overflow(std::uint64_t{arguments.stack}, std::uint64_t{arguments.stack_size},
                             &top)) {
    return -EINVAL;
  }
  return clone_thread(call, {arguments.flags, top, UserAddress{arguments.parent_tid},
                             UserAddress{arguments.child_tid}, arguments.tls});
}

SysResult sys_fork(Call& call) {
  return refuse(call, "fork");
}
SysResult sys_execve(Call& call) {
  return refuse(call, "execve");
}
SysResult sys_wait4(Call& /*call*/) {
  return -ECHILD;
}

SysResult sys_exit(Call& call) {
  Process& process = call.process;
  const int id = call.thread.id;
  const int code = call.as_int(0) & 0xff;
  release_robust_list(process, call.user, call.thread);
  if (const UserAddress tid = call.thread.clear_child_tid; tid.value != 0) {
    if (call.user.put(tid, std::int32_t{0}) == 0) {
      wake_futex(process.threads, tid, 1, kFutexAny);
    }
  }
  process.threads.remove(id);  // call.thread is gone.
  if (process.threads.all().empty()) {
    process.end(code, 0, {});
  }
  return kRegistersSet;
}

SysResult sys_exit_group(Call& call) {
  call.process.end(call.as_int(0) & 0xff, 0, {});
  return kRegistersSet;
}

SysResult sys_set_tid_address(Call& call) {
  call.thread.clear_child_tid = call.address(0);
  return call.thread.id;
}

SysResult sys_set_robust_list(Call& call) {
  if (call[1] != 24) {
    return -EINVAL;
  }
  call.thread.robust_list = call.address(0);
  return 0;
}

SysResult sys_get_robust_list(Call& call) {
  const Thread* const thread =
      call.as_int(0) == 0 ? &call.thread : call.process.threads.find(call.as_int(0));
  if (thread == nullptr) {
    return -ESRCH;
  }
  if (call.user.put(call.address(1), thread->robust_list) != 0) {
    return -EFAULT;
  }
  return call.user.put(call.address(2), std::uint64_t{24});
}

}  // namespace stasis::linux_guest
