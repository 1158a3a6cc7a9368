// poll(2), select(2) and epoll(7).
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include <algorithm>
#include <array>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"
#include "guests/linux/files/epoll.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kSetWords = 16;  // FD_SETSIZE / 64

// Deadlines of the files that are waited for; the earliest.
struct Watched {
  std::optional<Deadline> first;
  void add(Call& call, const File& file, bool reads) {
    const auto next = file.deadline();
    const GuestClock& clock = call.process.clock;
    if (next && (!first || clock.on_host(*next) < clock.on_host(*first))) {
      first = next;
    }
    if (!reads) {
      return;
    }
    const auto* const epoll = dynamic_cast<const EpollFile*>(&file);
    if (file.kind() == FileKind::kStasis || (epoll != nullptr && epoll->watches_device())) {
      call.process.device.want_request();
    }
  }
};

// Nothing is ready: waits until `deadline`, which the first attempt has found.
SysResult wait_for_files(Call& call, const std::optional<Deadline>& deadline) {
  if (call.is_too_late || (deadline && call.process.clock.is_past(*deadline))) {
    return 0;
  }
  return call.wait({Wait::Until::kReady, deadline, false});
}

// The deadline of this call: that of the first attempt, else `made`.
std::optional<Deadline> deadline_of(const Call& call, const std::optional<Deadline>& made) {
  return call.resumed != nullptr ? call.resumed->deadline : made;
}

std::optional<Deadline> after_ms(const Call& call, int milliseconds) {
  return milliseconds < 0
             ? std::nullopt
             : std::optional(call.process.clock.after(std::int64_t{milliseconds} * 1'000'000));
}

// The mask that a call puts in place while it waits. 0, -EFAULT, -EINVAL.
SysResult put_mask(Call& call, UserAddress mask, std::uint64_t size) {
  if (call.resumed != nullptr || mask.value == 0) {
    return 0;
  }
  if (size != 8) {
    return -EINVAL;
  }
  const auto bits = call.user.get<std::uint64_t>(mask);
  if (!bits) {
    return -EFAULT;
  }
  call.thread.mask_to_restore = call.thread.blocked;
  call.thread.blocked = SignalSet{*bits & ~((1ULL << 8U) | (1ULL << 18U))};  // SIGKILL, SIGSTOP
  return 0;
}

SysResult poll_files(Call& call, const std::optional<Deadline>& deadline) {
  const std::uint32_t count = call.as_u32(1);
  if (count > static_cast<std::uint32_t>(kDescriptorsMax)) {
    return -EINVAL;
  }
  auto polled = call.user.get_array<pollfd>(call.address(0), count);
  if (!polled) {
    return -EFAULT;
  }
  int ready = 0;
  Watched watched;
  for (pollfd& entry : *polled) {
    entry.revents = 0;
    if (entry.fd < 0) {
      continue;
    }
    const std::shared_ptr<File> file = call.process.descriptors.get(entry.fd);
    if (file == nullptr) {
      entry.revents = POLLNVAL;
    } else {
      const auto wanted = static_cast<std::uint32_t>(static_cast<std::uint16_t>(entry.events));
      watched.add(call, *file, (wanted & POLLIN) != 0);
      entry.revents = static_cast<std::int16_t>(file->poll() & (wanted | POLLERR | POLLHUP));
    }
    ready += entry.revents != 0 ? 1 : 0;
  }
  if (ready == 0) {
    const SysResult waited = wait_for_files(call, deadline_of(call, deadline));
    if (waited == kBlocked) {
      return kBlocked;
    }
  }
  return call.user.put_bytes(call.address(0), std::as_bytes(std::span(*polled))) != 0 ? -EFAULT
                                                                                      : ready;
}

using FdSet = std::array<std::uint64_t, kSetWords>;

struct Selected {
  std::array<FdSet, 3> sets{};  // To read, to write, exceptions.
  int ready = 0;
  SysResult wrong = 0;
};

// pollfd events that make a descriptor ready for each of the sets (select(2)).
constexpr std::array<std::uint32_t, 3> kSelectEvents = {POLLRDNORM | POLLIN | POLLHUP | POLLERR,
                                                        POLLWRNORM | POLLOUT | POLLERR, POLLPRI};

void select_one(Call& call, int number, const std::array<FdSet, 3>& wanted, Selected& out,
                Watched& watched) {
  const std::size_t word = static_cast<std::size_t>(number) / 64;
  const std::uint64_t bit = std::uint64_t{1} << (static_cast<unsigned>(number) % 64);
  if (((wanted[0][word] | wanted[1][word] | wanted[2][word]) & bit) == 0) {
    return;
  }
  const std::shared_ptr<File> file = call.process.descriptors.get(number);
  if (file == nullptr) {
    out.wrong = -EBADF;
    return;
  }
  watched.add(call, *file, (wanted[0][word] & bit) != 0);
  const std::uint32_t events = file->poll();
  for (std::size_t set = 0; set < 3; ++set) {
    if ((wanted[set][word] & bit) != 0 && (events & kSelectEvents[set]) != 0) {
      out.sets[set][word] |= bit;
      ++out.ready;
    }
  }
}

SysResult select_files(Call& call, const std::optional<Deadline>& deadline) {
  const int count = call.as_int(0);
  if (count < 0) {
    return -EINVAL;
  }
  const int limit = std::min(count, static_cast<int>(kSetWords * 64));
  const std::size_t bytes = (static_cast<std::size_t>(limit) + 63) / 64 * 8;
  std::array<FdSet, 3> wanted{};
  for (std::size_t set = 0; set < 3; ++set) {
    const auto words = std::as_writable_bytes(std::span(wanted[set])).first(bytes);
    if (call[set + 1] != 0 && call.user.get_bytes(call.address(set + 1), words) != 0) {
      return -EFAULT;
    }
  }
  Selected selected;
  Watched watched;
  for (int number = 0; number < limit && selected.wrong == 0; ++number) {
    select_one(call, number, wanted, selected, watched);
  }
  if (selected.wrong != 0) {
    return selected.wrong;
  }
  if (selected.ready == 0) {
    const SysResult waited = wait_for_files(call, deadline_of(call, deadline));
    if (waited == kBlocked) {
      return kBlocked;
    }
  }
  for (std::size_t set = 0; set < 3; ++set) {
    const auto words = std::as_bytes(std::span(selected.sets[set])).first(bytes);
    if (call[set + 1] != 0 && call.user.put_bytes(call.address(set + 1), words) != 0) {
      return -EFAULT;
    }
  }
  return selected.ready;
}

SysResult epoll_wait_for(Call& call, const std::optional<Deadline>& deadline) {
  const std::shared_ptr<File> file = call.file(0);
  if (file == nullptr) {
    return -EBADF;
  }
  auto* const epoll = dynamic_cast<EpollFile*>(file.get());
  if (epoll == nullptr || call.as_int(2) <= 0) {
    return -EINVAL;
  }
  Watched watched;
  watched.add(call, *epoll, true);
  const auto ready = epoll->collect(static_cast<std::size_t>(std::min(call.as_int(2), 4096)));
  if (ready.empty()) {
    return wait_for_files(call, deadline_of(call, deadline));
  }
  std::vector<epoll_event> events;
  for (const EpollReady& one : ready) {
    epoll_event event{};
    event.events = one.events;
    event.data.u64 = one.data;
    events.push_back(event);
  }
  return call.user.put_bytes(call.address(1), std::as_bytes(std::span(events))) != 0
             ? -EFAULT
             : static_cast<SysResult>(events.size());
}

SysResult add_epoll(Call& call, int flags) {
  if ((flags & ~EPOLL_CLOEXEC) != 0) {
    return -EINVAL;
  }
  SysOr<int> added = call.process.descriptors.add(
      {std::make_shared<EpollFile>(O_RDWR), (flags & EPOLL_CLOEXEC) != 0});
  return added.ok() ? *added : added.error();
}

}  // namespace

SysResult sys_poll(Call& call) {
  return poll_files(call, after_ms(call, call.as_int(2)));
}

SysResult sys_ppoll(Call& call) {
  auto deadline = call.resumed != nullptr ? SysOr<std::optional<Deadline>>(call.resumed->deadline)
                                          : deadline_after(call, call.address(2));
  if (!deadline.ok()) {
    return deadline.error();
  }
  const SysResult wrong = put_mask(call, call.address(3), call[4]);
  return wrong != 0 ? wrong : poll_files(call, *deadline);
}

SysResult sys_select(Call& call) {
  std::optional<Deadline> deadline;
  if (call.resumed == nullptr && call[4] != 0) {
    const auto time = call.user.get<timeval>(call.address(4));
    if (!time) {
      return -EFAULT;
    }
    const auto ns = ns_of(*time);
    if (!ns) {
      return -EINVAL;
    }
    deadline = call.process.clock.after(*ns);
  }
  return select_files(call, deadline);
}

SysResult sys_pselect6(Call& call) {
  auto deadline = call.resumed != nullptr ? SysOr<std::optional<Deadline>>(call.resumed->deadline)
                                          : deadline_after(call, call.address(4));
  if (!deadline.ok()) {
    return deadline.error();
  }
  if (call[5] != 0 && call.resumed == nullptr) {
    const auto mask = call.user.get<UserSpan>(call.address(5));  // Address and size of the set.
    if (!mask) {
      return -EFAULT;
    }
    if (const SysResult wrong = put_mask(call, mask->begin, mask->size_bytes); wrong != 0) {
      return wrong;
    }
  }
  return select_files(call, *deadline);
}

SysResult sys_epoll_create(Call& call) {
  return call.as_int(0) <= 0 ? -EINVAL : add_epoll(call, 0);
}
SysResult sys_epoll_create1(Call& call) {
  return add_epoll(call, call.as_int(0));
}

SysResult sys_epoll_ctl(Call& call) {
  const std::shared_ptr<File> file = call.file(0);
  const std::shared_ptr<File> watched = call.file(2);
  if (file == nullptr || watched == nullptr) {
    return -EBADF;
  }
  auto* const epoll = dynamic_cast<EpollFile*>(file.get());
  if (epoll == nullptr) {
    return -EINVAL;
  }
  EpollReady wanted;
  if (call.as_int(1) != EPOLL_CTL_DEL) {
    const auto event = call.user.get<epoll_event>(call.address(3));
    if (!event) {
      return -EFAULT;
    }
    wanted = {event->events, event->data.u64};
  }
  return epoll->control(call.as_int(1), call.as_int(2), watched, wanted);
}

SysResult sys_epoll_wait(Call& call) {
  return epoll_wait_for(call, after_ms(call, call.as_int(3)));
}

SysResult sys_epoll_pwait(Call& call) {
  const SysResult wrong = put_mask(call, call.address(4), call[5]);
  return wrong != 0 ? wrong : epoll_wait_for(call, after_ms(call, call.as_int(3)));
}

SysResult sys_epoll_pwait2(Call& call) {
  auto deadline = call.resumed != nullptr ? SysOr<std::optional<Deadline>>(call.resumed->deadline)
                                          : deadline_after(call, call.address(3));
  if (!deadline.ok()) {
    return deadline.error();
  }
  const SysResult wrong = put_mask(call, call.address(4), call[5]);
  return wrong != 0 ? wrong : epoll_wait_for(call, *deadline);
}

}  // namespace stasis::linux_guest
