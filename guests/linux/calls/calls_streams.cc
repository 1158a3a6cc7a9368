// Pipes, socket pairs, eventfd, timerfd and memfd; and the sockets that there are not.
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"
#include "guests/linux/calls/transfer.h"
#include "guests/linux/files/pipe.h"
#include "guests/linux/files/special_files.h"

namespace stasis::linux_guest {
namespace {

// Two descriptors, told to the guest at `to`; neither stays if one cannot.
SysResult add_two(Call& call, UserAddress to, Descriptor first, Descriptor second) {
  DescriptorTable& table = call.process.descriptors;
  SysOr<int> one = table.add(std::move(first));
  if (!one.ok()) {
    return one.error();
  }
  SysOr<int> two = table.add(std::move(second));
  if (!two.ok()) {
    static_cast<void>(table.close(*one));
    return two.error();
  }
  if (call.user.put(to, std::array<std::int32_t, 2>{*one, *two}) != 0) {
    static_cast<void>(table.close(*one));
    static_cast<void>(table.close(*two));
    return -EFAULT;
  }
  return 0;
}

SysResult add_one(Call& call, std::shared_ptr<File> file, bool closes_on_exec) {
  SysOr<int> added = call.process.descriptors.add({std::move(file), closes_on_exec});
  return added.ok() ? *added : added.error();
}

SysResult make_pipe(Call& call, int flags) {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) != 0) {
    return -EINVAL;
  }
  const auto pipe = std::make_shared<PipeBuffer>();
  const std::uint64_t inode = call.process.vfs->space()->next_number();
  const int status = flags & O_NONBLOCK;
  const bool closes = (flags & O_CLOEXEC) != 0;
  return add_two(call, call.address(0),
                 {std::make_shared<PipeFile>(O_RDONLY | status, pipe, inode), closes},
                 {std::make_shared<PipeFile>(O_WRONLY | status, pipe, inode), closes});
}

SysOr<std::shared_ptr<SocketFile>> socket_of(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return Errno{EBADF};
  }
  auto socket = std::dynamic_pointer_cast<SocketFile>(file);
  return socket == nullptr ? SysOr<std::shared_ptr<SocketFile>>(Errno{ENOTSOCK})
                           : SysOr<std::shared_ptr<SocketFile>>(std::move(socket));
}

// Of the flags of send(2) and recv(2), the ones that make no difference here.
constexpr int kHarmless = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_MORE;

// A call with MSG_DONTWAIT is one on a non-blocking description.
SysResult move_message(Call& call, std::span<const UserSpan> spans, int flags, bool is_send) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  if (!socket.ok()) {
    return socket.error();
  }
  if ((flags & ~kHarmless) != 0) {
    return -EOPNOTSUPP;
  }
  File& file = **socket;
  const int status = file.flags();
  if ((flags & MSG_DONTWAIT) != 0) {
    file.set_flags(status | O_NONBLOCK);
  }
  const SysResult result =
      is_send ? write_file(call, file, spans, {}) : read_file(call, file, spans, {});
  file.set_flags(status);
  return result;
}

SysResult move_buffer(Call& call, bool is_send) {
  const UserSpan span{call.address(1), std::min(call[2], kTransferBytesMax)};
  if (is_send && call[4] != 0) {
    return -EISCONN;
  }
  if (!is_send && call[5] != 0 && call.user.put(call.address(5), std::uint32_t{0}) != 0) {
    return -EFAULT;
  }
  return move_message(call, {&span, 1}, call.as_int(3), is_send);
}

struct MessageHeader {  // struct user_msghdr
  std::uint64_t name;
  std::int32_t name_size, unused_1;
  UserAddress vectors;
  std::uint64_t vector_count;
  std::uint64_t control, control_size;
  std::uint32_t flags, unused_2;
};
static_assert(sizeof(MessageHeader) == 56);

SysResult move_vectors(Call& call, bool is_send) {
  auto header = call.user.get<MessageHeader>(call.address(1));
  if (!header) {
    return -EFAULT;
  }
  if (is_send && header->control_size != 0) {
    return -EOPNOTSUPP;  // Descriptors cannot be sent: there is nobody to send them to.
  }
  auto vectors = call.user.get_vectors(header->vectors, header->vector_count);
  if (!vectors.ok()) {
    return vectors.error();
  }
  const SysResult result = move_message(call, *vectors, call.as_int(2), is_send);
  if (result >= 0 && !is_send) {
    header->name_size = 0;
    header->control_size = 0;
    header->flags = 0;
    if (call.user.put(call.address(1), *header) != 0) {
      return -EFAULT;
    }
  }
  return result;
}

SysOr<std::shared_ptr<TimerFile>> timer_of(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return Errno{EBADF};
  }
  auto timer = std::dynamic_pointer_cast<TimerFile>(file);
  return timer == nullptr ? SysOr<std::shared_ptr<TimerFile>>(Errno{EINVAL})
                          : SysOr<std::shared_ptr<TimerFile>>(std::move(timer));
}

SysResult put_timer(Call& call, UserAddress to, const TimerFile& timer) {
  itimerspec value{};
  value.it_interval = timespec_of(timer.interval_ns());
  if (timer.next()) {
    // The next expiration, of those that are still to come.
    std::int64_t at = timer.next()->at_ns;
    const auto passed = static_cast<std::int64_t>(timer.expirations());
    at = timer.interval_ns() == 0 ? at : add_ns(at, passed * timer.interval_ns());
    value.it_value = timespec_of(left_ns(call, {timer.clock_kind(), at}));
  }
  return call.user.put(to, value);
}

}  // namespace

SysResult sys_pipe(Call& call) {
  return make_pipe(call, 0);
}
SysResult sys_pipe2(Call& call) {
  return make_pipe(call, call.as_int(1));
}

SysResult sys_socketpair(Call& call) {
  const int type = call.as_int(1) & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (call.as_int(0) != AF_UNIX) {
    return -EAFNOSUPPORT;
  }
  if (type != SOCK_STREAM || call.as_int(2) != 0) {
    return -ESOCKTNOSUPPORT;
  }
  const auto there = std::make_shared<PipeBuffer>();
  const auto back = std::make_shared<PipeBuffer>();
  const std::uint64_t inode = call.process.vfs->space()->next_number();
  const int status = O_RDWR | ((call.as_int(1) & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0);
  const bool closes = (call.as_int(1) & SOCK_CLOEXEC) != 0;
  return add_two(call, call.address(3),
                 {std::make_shared<SocketFile>(status, there, back, inode), closes},
                 {std::make_shared<SocketFile>(status, back, there, inode), closes});
}

SysResult sys_socket(Call& /*call*/) {
  return -EAFNOSUPPORT;  // There is no network: a program talks through /dev/stasis.
}
SysResult sys_socket_operation(Call& call) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  return socket.ok() ? -EOPNOTSUPP : socket.error();
}
SysResult sys_sendto(Call& call) {
  return move_buffer(call, true);
}
SysResult sys_recvfrom(Call& call) {
  return move_buffer(call, false);
}
SysResult sys_sendmsg(Call& call) {
  return move_vectors(call, true);
}
SysResult sys_recvmsg(Call& call) {
  return move_vectors(call, false);
}

SysResult sys_shutdown(Call& call) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  if (!socket.ok()) {
    return socket.error();
  }
  const int how = call.as_int(1);
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
    return -EINVAL;
  }
  (*socket)->shut_down(how != SHUT_WR, how != SHUT_RD);
  return 0;
}

SysResult sys_getsockopt(Call& call) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  if (!socket.ok()) {
    return socket.error();
  }
  if (call.as_int(1) != SOL_SOCKET) {
    return -EOPNOTSUPP;
  }
  std::int32_t value = 0;
  switch (call.as_int(2)) {
    case SO_TYPE:
      value = SOCK_STREAM;
      break;
    case SO_DOMAIN:
      value = AF_UNIX;
      break;
    case SO_ERROR:
    case SO_PROTOCOL:
    case SO_ACCEPTCONN:
      break;
    case SO_SNDBUF:
    case SO_RCVBUF:
      value = static_cast<std::int32_t>(kPipeBytesMax);
      break;
    default:
      return -ENOPROTOOPT;
  }
  const auto size = call.user.get<std::int32_t>(call.address(4));
  if (!size) {
    return -EFAULT;
  }
  if (*size < 4) {
    return -EINVAL;
  }
  return call.user.put(call.address(3), value) != 0 ||
                 call.user.put(call.address(4), std::int32_t{4}) != 0
             ? -EFAULT
             : 0;
}

SysResult sys_setsockopt(Call& call) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  return socket.error();
}

SysResult sys_getsockname(Call& call) {
  SysOr<std::shared_ptr<SocketFile>> socket = socket_of(call);
  if (!socket.ok()) {
    return socket.error();
  }
  // An unnamed Unix socket: the family alone.
  const auto size = call.user.get<std::int32_t>(call.address(2));
  if (!size) {
    return -EFAULT;
  }
  if (*size < 0) {
    return -EINVAL;
  }
  const std::uint16_t family = AF_UNIX;
  if (*size >= 2 && call.user.put(call.address(1), family) != 0) {
    return -EFAULT;
  }
  return call.user.put(call.address(2), std::int32_t{2});
}

SysResult sys_eventfd(Call& call) {
  return add_one(call, std::make_shared<EventFile>(O_RDWR, call.as_u32(0), false), false);
}
SysResult sys_eventfd2(Call& call) {
  const int flags = call.as_int(1);
  if ((flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) != 0) {
    return -EINVAL;
  }
  return add_one(call,
                 std::make_shared<EventFile>(O_RDWR | (flags & EFD_NONBLOCK), call.as_u32(0),
                                             (flags & EFD_SEMAPHORE) != 0),
                 (flags & EFD_CLOEXEC) != 0);
}

SysResult sys_timerfd_create(Call& call) {
  const int flags = call.as_int(1);
  SysOr<ClockKind> kind = clock_kind(call.as_int(0));
  if (!kind.ok() || *kind == ClockKind::kProcessor ||
      (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) != 0) {
    return -EINVAL;
  }
  return add_one(
      call,
      std::make_shared<TimerFile>(O_RDONLY | (flags & TFD_NONBLOCK), *kind, call.process.clock),
      (flags & TFD_CLOEXEC) != 0);
}

SysResult sys_timerfd_settime(Call& call) {
  SysOr<std::shared_ptr<TimerFile>> timer = timer_of(call);
  if (!timer.ok()) {
    return timer.error();
  }
  const auto wanted = call.user.get<itimerspec>(call.address(2));
  if (!wanted) {
    return -EFAULT;
  }
  const auto value = ns_of(wanted->it_value);
  const auto interval = ns_of(wanted->it_interval);
  if (!value || !interval ||
      (call.as_int(1) & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0) {
    return -EINVAL;
  }
  if (call[3] != 0 && put_timer(call, call.address(3), **timer) != 0) {
    return -EFAULT;
  }
  const ClockKind kind = (*timer)->clock_kind();
  const bool is_absolute = (call.as_int(1) & TFD_TIMER_ABSTIME) != 0;
  const std::int64_t at = is_absolute ? *value : add_ns(call.process.clock.now_ns(kind), *value);
  (*timer)->arm(*value == 0 ? std::nullopt : std::optional(Deadline{kind, at}), *interval);
  return 0;
}

SysResult sys_timerfd_gettime(Call& call) {
  SysOr<std::shared_ptr<TimerFile>> timer = timer_of(call);
  return timer.ok() ? put_timer(call, call.address(1), **timer) : timer.error();
}

SysResult sys_memfd_create(Call& call) {
  auto name = call.user.get_string(call.address(0), 250);
  if (!name.ok()) {
    return name.code().value == ENAMETOOLONG ? -EINVAL : name.error();
  }
  constexpr std::uint32_t kKnown = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if ((call.as_u32(1) & ~kKnown) != 0) {
    return -EINVAL;
  }
  const auto& mounts = call.process.vfs->mounts();
  if (mounts.empty()) {
    return -ENOSPC;
  }
  auto made = TmpfsNode(*mounts.front(), mounts.front()->root, nullptr, {}).create_unnamed(0777);
  if (!made.ok()) {
    return made.error();
  }
  auto file = (*made)->open(O_RDWR);
  return file.ok() ? add_one(call, *file, (call.as_u32(1) & MFD_CLOEXEC) != 0) : file.error();
}

}  // namespace stasis::linux_guest
