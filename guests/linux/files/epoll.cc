#include "guests/linux/files/epoll.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>

namespace stasis::linux_guest {
namespace {

constexpr std::uint32_t kAlways = EPOLLERR | EPOLLHUP;

}  // namespace

std::uint32_t EpollFile::ready_events(const EpollWatch& watch, const File& file) {
  const std::uint32_t ready = file.poll() & (watch.events | kAlways);
  if ((watch.events & EPOLLET) == 0 || ready == 0) {
    return ready;
  }
  const bool is_new =
      file.activity() != watch.reported_activity || (ready & ~watch.reported_events) != 0;
  return is_new ? ready : 0;
}

FileStat EpollFile::stat() const {
  FileStat stat;
  stat.device = 4;
  stat.inode = 12;
  stat.mode = 0600;
  return stat;
}

std::uint32_t EpollFile::poll() const {
  const bool is_ready = std::ranges::any_of(watches_, [](const auto& watch) {
    const auto file = watch.second.file.lock();
    return file != nullptr && watch.second.events != 0 && ready_events(watch.second, *file) != 0;
  });
  return is_ready ? POLLIN | POLLRDNORM : 0U;
}

std::uint64_t EpollFile::activity() const {
  std::uint64_t sum = 0;
  for (const auto& [number, watch] : watches_) {
    const auto file = watch.file.lock();
    sum += file == nullptr ? 0 : file->activity();
  }
  return sum;
}

std::optional<Deadline> EpollFile::deadline() const {
  std::optional<Deadline> first;
  for (const auto& [number, watch] : watches_) {
    const auto file = watch.file.lock();
    const auto next = file == nullptr ? std::nullopt : file->deadline();
    // Between the two clocks the order is not known here: the earlier number is early enough, since
    // what is woken too early waits again.
    if (next && (!first || next->at_ns < first->at_ns)) {
      first = next;
    }
  }
  return first;
}

SysResult EpollFile::control(int operation, int descriptor, const std::shared_ptr<File>& file,
                             EpollReady wanted) {
  if (file.get() == this) {
    return -EINVAL;
  }
  forget_closed(descriptor);
  const auto found = watches_.find(descriptor);
  const bool is_watched = found != watches_.end();
  switch (operation) {
    case EPOLL_CTL_ADD:
      if (is_watched) {
        return -EEXIST;
      }
      if (file->kind() == FileKind::kHost || file->kind() == FileKind::kTmpfs ||
          file->kind() == FileKind::kText || file->kind() == FileKind::kDirectory) {
        return -EPERM;
      }
      if (auto* const inner = dynamic_cast<EpollFile*>(file.get()); inner != nullptr) {
        if (was_watched_ || inner->watches_epoll()) {
          return -ELOOP;
        }
        inner->mark_watched();
      }
      watches_[descriptor] = {file, wanted.events, wanted.data, 0, 0};
      return 0;
    case EPOLL_CTL_MOD:
      if (!is_watched) {
        return -ENOENT;
      }
      found->second = {file, wanted.events, wanted.data, 0, 0};
      return 0;
    case EPOLL_CTL_DEL:
      if (!is_watched) {
        return -ENOENT;
      }
      watches_.erase(found);
      return 0;
    default:
      return -EINVAL;
  }
}

std::vector<EpollReady> EpollFile::collect(std::size_t count_max) {
  std::vector<EpollReady> ready;
  std::vector<int> order;
  for (auto at = watches_.lower_bound(next_); at != watches_.end(); ++at) {
    order.push_back(at->first);
  }
  for (auto at = watches_.begin(); at != watches_.end() && at->first < next_; ++at) {
    order.push_back(at->first);
  }
  for (const int number : order) {
    if (ready.size() == count_max) {
      next_ = number;
      break;
    }
    EpollWatch& watch = watches_[number];
    const auto file = watch.file.lock();
    if (file == nullptr || watch.events == 0) {
      continue;
    }
    const std::uint32_t events = ready_events(watch, *file);
    watch.reported_events = file->poll() & (watch.events | kAlways);
    if (events == 0) {
      continue;
    }
    watch.reported_activity = file->activity();
    ready.push_back({events, watch.data});
    if ((watch.events & EPOLLONESHOT) != 0) {
      watch.events = 0;
    }
  }
  return ready;
}

void EpollFile::forget_closed(int descriptor) {
  const auto found = watches_.find(descriptor);
  if (found != watches_.end() && found->second.file.expired()) {
    watches_.erase(found);
  }
}

bool EpollFile::watches_epoll() const {
  return std::ranges::any_of(watches_, [](const auto& watch) {
    const auto file = watch.second.file.lock();
    return file != nullptr && file->kind() == FileKind::kEpoll;
  });
}

bool EpollFile::watches_device() const {
  return std::ranges::any_of(watches_, [](const auto& watch) {
    const auto file = watch.second.file.lock();
    return file != nullptr && file->kind() == FileKind::kStasis &&
           (watch.second.events & EPOLLIN) != 0;
  });
}

}  // namespace stasis::linux_guest
