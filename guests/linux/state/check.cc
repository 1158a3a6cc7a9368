// What a decoded state must keep to before anything is built from it: its bytes may be anybody's.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>

#include "guests/linux/files/pipe.h"
#include "guests/linux/state/process_state.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kInodesMax = std::size_t{1} << 20U;
constexpr std::size_t kTextBytesMax = std::size_t{8} << 20U;
constexpr std::size_t kXsaveBytesMax = 16384;
constexpr std::size_t kSignalsQueuedMax = 1024;
// What a program can have in RFLAGS (SDM vol. 1, 3.4.3): CF, the 1, PF AF ZF SF TF IF DF OF NT RF
// AC ID.
constexpr std::uint64_t kUserFlags = 0x254fd7;

Error corrupt(const std::string& message) {
  return Error{Errc::kCorruption, 0, "state of the Linux process: " + message};
}

bool is_time(const std::optional<Deadline>& deadline) {
  return !deadline || deadline->at_ns >= 0;
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

// The calls that may wait, and so are made again by the scheduler: no other handler is prepared.
bool may_wait(const Wait& wait) {
  switch (wait.number) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return wait.deadline.has_value() && wait.until == Wait::Until::kPassed;
    case SYS_futex:
      return wait.until == Wait::Until::kWoken;
    case SYS_pause:
    case SYS_rt_sigsuspend:
      return wait.until == Wait::Until::kPassed && !wait.deadline;
    case SYS_read:
    case SYS_write:
    case SYS_readv:
    case SYS_writev:
    case SYS_preadv2:
    case SYS_pwritev2:
    case SYS_sendfile:
    case SYS_copy_file_range:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_rt_sigtimedwait:
      return wait.until == Wait::Until::kReady;
    default:
      return false;
  }
}

Result<void> check_signals(const std::deque<SignalInfo>& queue) {
  const bool is_fine = queue.size() <= kSignalsQueuedMax + 1 &&
                       std::ranges::all_of(queue, [](const SignalInfo& info) {
                         return info.signal >= 1 && info.signal <= kSignalsMax;
                       });
  return is_fine ? Result<void>() : corrupt("its pending signals are not possible");
}

Result<void> check_thread(const Thread& thread) {
  const std::string who = "thread " + std::to_string(thread.id);
  const X86GeneralRegisters& general = thread.context.general;
  if (general.rip >= kUserSpaceEnd || thread.context.fs_base >= kUserSpaceEnd ||
      (general.rflags & ~kUserFlags) != 0 || thread.context.gs_base >= kUserSpaceEnd ||
      thread.context.xsave.size() > kXsaveBytesMax) {
    return corrupt(who + ": its registers are not a program's");
  }
  if (thread.wait && (!may_wait(*thread.wait) || !is_time(thread.wait->deadline) ||
                      thread.wait->progress > 0x7ffff000)) {
    return corrupt(who + ": it cannot wait in system call " + std::to_string(thread.wait->number));
  }
  if (thread.name.size() > 15) {
    return corrupt(who + ": its name is too long");
  }
  return check_signals(thread.pending);
}

Result<void> check_threads(const ProcessState& state) {
  if (state.threads.empty() || state.threads.size() > kThreadsMax) {
    return corrupt(std::to_string(state.threads.size()) + " threads");
  }
  int last = 0;
  for (const Thread& thread : state.threads) {
    if (thread.id <= last || thread.id > state.last_thread_id) {
      return corrupt("thread ids are not ascending up to " + std::to_string(state.last_thread_id));
    }
    last = thread.id;
    STASIS_TRY(check_thread(thread));
  }
  return {};
}

Result<void> check_inode(const ProcessState& state, const InodeState& inode) {
  const std::string who = "inode " + std::to_string(inode.number);
  const bool is_folder = S_ISDIR(inode.mode);
  if (!is_folder && !S_ISREG(inode.mode) && !S_ISLNK(inode.mode)) {
    return corrupt(who + ": neither file, folder nor link");
  }
  if ((!is_folder && !inode.entries.empty()) ||
      (!S_ISREG(inode.mode) && (!inode.page_numbers.empty() || inode.size_bytes != 0)) ||
      inode.target.size() > 4096) {
    return corrupt(who + ": holds what its type cannot");
  }
  if (inode.size_bytes > kTmpfsFileBytesMax ||
      inode.pages.size() != inode.page_numbers.size() * kPageBytes) {
    return corrupt(who + ": its size and its pages are not possible");
  }
  const std::uint64_t end = (inode.size_bytes + kPageBytes - 1) / kPageBytes;
  for (std::size_t i = 0; i < inode.page_numbers.size(); ++i) {
    // fallocate(KEEP_SIZE) makes no pages, so none is beyond the end.
    if (inode.page_numbers[i] >= end ||
        (i != 0 && inode.page_numbers[i] <= inode.page_numbers[i - 1])) {
      return corrupt(who + ": its pages are not ascending within its size");
    }
  }
  for (std::size_t i = 0; i < inode.entries.size(); ++i) {
    const InodeState::Entry& entry = inode.entries[i];
    if (!is_name(entry.name) || entry.inode >= state.inodes.size() ||
        (i != 0 && entry.name <= inode.entries[i - 1].name)) {
      return corrupt(who + ": its entries are not ascending names of inodes");
    }
  }
  return {};
}

// Folders form trees: each has one parent at most, and nothing is its own ancestor.
Result<void> check_folders(const ProcessState& state) {
  constexpr std::uint32_t kNone = UINT32_MAX;
  std::vector<std::uint32_t> parents(state.inodes.size(), kNone);
  for (std::uint32_t i = 0; i < state.inodes.size(); ++i) {
    for (const InodeState::Entry& entry : state.inodes[i].entries) {
      if (!S_ISDIR(state.inodes[entry.inode].mode)) {
        continue;
      }
      if (parents[entry.inode] != kNone ||
          std::ranges::count(state.mount_roots, entry.inode) != 0) {
        return corrupt("a folder is in two places");
      }
      parents[entry.inode] = i;
    }
  }
  // Paints each chain of ancestors once; a chain that meets its own paint is a circle.
  std::vector<std::uint32_t> paint(state.inodes.size(), kNone);
  for (std::uint32_t start = 0; start < state.inodes.size(); ++start) {
    std::uint32_t at = start;
    while (at != kNone && paint[at] == kNone) {
      paint[at] = start;
      at = parents[at];
    }
    if (at != kNone && paint[at] == start) {
      return corrupt("a folder is below itself");
    }
  }
  return {};
}

Result<void> check_tmpfs(const ProcessState& state) {
  if (state.inodes.size() > kInodesMax) {
    return corrupt("too many inodes");
  }
  for (const InodeState& inode : state.inodes) {
    STASIS_TRY(check_inode(state, inode));
  }
  for (const std::uint32_t root : state.mount_roots) {
    if (root >= state.inodes.size() || !S_ISDIR(state.inodes[root].mode) ||
        std::ranges::count(state.mount_roots, root) != 1) {
      return corrupt("the root of a tmpfs is not a folder of its own");
    }
  }
  return check_folders(state);
}

Result<void> check_place(const ProcessState& state, const PlaceState& place, const char* who) {
  if (!place.is_tmpfs) {
    if (!place.path.starts_with('/') || place.path.find('\0') != std::string::npos) {
      return corrupt(std::string(who) + ": not an absolute path");
    }
    return {};
  }
  const bool has_folder = !place.folder || (*place.folder < state.inodes.size() &&
                                            S_ISDIR(state.inodes[*place.folder].mode));
  if (place.inode >= state.inodes.size() || place.mount >= state.mount_roots.size() ||
      !has_folder) {
    return corrupt(std::string(who) + ": not an inode of a tmpfs");
  }
  return {};
}

Result<void> check_epoll(const ProcessState& state, const FileState& file) {
  for (const WatchState& watch : file.watches) {
    if (watch.file >= state.files.size()) {
      return corrupt("an epoll watches a file that is not open");
    }
    const FileState& watched = state.files[watch.file];
    if (watched.kind == FileKind::kEpoll) {
      const bool nests =
          file.was_watched || std::ranges::any_of(watched.watches, [&](const auto& w) {
            return w.file < state.files.size() && state.files[w.file].kind == FileKind::kEpoll;
          });
      if (&watched == &file || nests || !watched.was_watched) {
        return corrupt("an epoll watches another one in a circle or too deep");
      }
    }
  }
  return {};
}

Result<void> check_that(bool holds, const std::string& else_what) {
  return holds ? Result<void>() : corrupt(else_what);
}

// A file that has a place in the tree.
Result<void> check_placed_file(const ProcessState& state, const FileState& file) {
  const bool is_directory = file.kind == FileKind::kDirectory;
  const bool may_be_host = file.kind != FileKind::kTmpfs;
  const bool may_be_tmpfs = file.kind == FileKind::kTmpfs || is_directory;
  if (file.place.is_tmpfs ? !may_be_tmpfs : !may_be_host) {
    return corrupt(may_be_host ? "a host file of the tmpfs"
                               : "an open file is not one of the tmpfs");
  }
  STASIS_TRY(check_place(state, file.place, is_directory ? "an open folder" : "an open file"));
  if (!file.place.is_tmpfs) {
    return {};
  }
  const std::uint32_t mode = state.inodes[file.place.inode].mode;
  return is_directory ? check_that(S_ISDIR(mode), "an open folder is a file")
                      : check_that(S_ISREG(mode), "an open file is not one of the tmpfs");
}

// What is particular to the kind of file.
Result<void> check_kind(const ProcessState& state, const FileState& file) {
  switch (file.kind) {
    case FileKind::kHost:
    case FileKind::kDevice:
    case FileKind::kTmpfs:
    case FileKind::kDirectory:
      return check_placed_file(state, file);
    case FileKind::kText:
      return check_that(file.content.size() <= kTextBytesMax, "a text is too long");
    case FileKind::kConsole:
      return check_that(file.number < 3, "a standard stream of number 3 or more");
    case FileKind::kPipe:
      return check_that(file.pipes.size() == 1 && (file.flags & O_ACCMODE) != O_RDWR,
                        "an end of a pipe is not one");
    case FileKind::kSocket:
      return check_that(file.pipes.size() == 2 && file.pipes[0] != file.pipes[1],
                        "an end of a socket pair is not one");
    case FileKind::kEvent:
      return check_that(file.number != UINT64_MAX, "the count of an eventfd");
    case FileKind::kTimer:
      return check_that(
          !file.timer || (file.timer->clock == ClockKind::kReal) == file.timer_is_real,
          "a timer on two clocks");
    case FileKind::kEpoll:
      return check_epoll(state, file);
    case FileKind::kStasis:
      return {};
  }
  return corrupt("an open file of unknown kind " + std::to_string(static_cast<int>(file.kind)));
}

Result<void> check_file(const ProcessState& state, const FileState& file) {
  if (file.offset > std::uint64_t{INT64_MAX} || file.timer_interval_ns < 0 ||
      !is_time(file.timer)) {
    return corrupt("the offset or timer of an open file is not possible");
  }
  for (const std::uint32_t pipe : file.pipes) {
    if (pipe >= state.pipes.size()) {
      return corrupt("an open file is the end of a pipe that there is not");
    }
  }
  return check_kind(state, file);
}

Result<void> check_descriptors(const ProcessState& state) {
  int last = -1;
  std::vector<bool> is_used(state.files.size());
  for (const DescriptorState& descriptor : state.descriptors) {
    if (descriptor.number <= last || descriptor.number >= kDescriptorsMax ||
        descriptor.file >= state.files.size()) {
      return corrupt("its descriptors are not ascending numbers of open files");
    }
    last = descriptor.number;
    is_used[descriptor.file] = true;
  }
  return std::ranges::find(is_used, false) == is_used.end()
             ? Result<void>()
             : corrupt("an open file has no descriptor");
}

Result<void> check_device(const StasisDeviceState& device) {
  const auto is_small = [](const std::vector<std::byte>& bytes) {
    return bytes.size() <= kRequestBytesMax + 1;
  };
  const bool is_fine = device.requests.size() <= kRequestsMax &&
                       std::ranges::all_of(device.requests, is_small) &&
                       device.position <= device.request.size() &&
                       (device.is_active || (device.request.empty() && !device.has_written)) &&
                       (device.has_written || device.response.empty());
  return is_fine ? Result<void>() : corrupt("the state of /dev/stasis is not possible");
}

Result<void> check_mappings(const ProcessState& state) {
  std::uint64_t last = 0;
  for (const MappingState& mapping : state.mappings) {
    if (mapping.id <= last || mapping.id > state.last_mapping) {
      return corrupt("the ids of its mapped files are not ascending");
    }
    last = mapping.id;
    if (mapping.is_tmpfs &&
        (mapping.inode >= state.inodes.size() || !S_ISREG(state.inodes[mapping.inode].mode))) {
      return corrupt("a mapped file is not one of the tmpfs");
    }
  }
  return {};
}

bool is_timer(const IntervalTimer& timer, ClockKind clock) {
  return timer.interval_ns >= 0 && is_time(timer.next) &&
         (!timer.next || timer.next->clock == clock);
}

Result<void> check_timers(const ProcessState& state) {
  bool is_fine = state.timers.posix.size() <= kPosixTimersMax && state.timers.next_posix >= 0;
  for (std::size_t i = 0; i < kIntervalTimers; ++i) {
    is_fine = is_fine && is_timer(state.timers.interval[i],
                                  i == ITIMER_REAL ? ClockKind::kMonotonic : ClockKind::kProcessor);
  }
  for (const auto& [id, timer] : state.timers.posix) {
    is_fine = is_fine && id >= 0 && timer.signal >= 0 && timer.signal <= kSignalsMax &&
              timer.thread >= 0 && timer.overrun >= 0 && is_timer(timer.timer, timer.clock);
  }
  return check_that(is_fine, "its timers are not possible");
}

}  // namespace

Result<void> check_state(const ProcessState& state) {
  const bool has_limits = std::ranges::all_of(
      state.limits, [](const ResourceLimit& limit) { return limit.soft <= limit.hard; });
  if (!has_limits || state.monotonic_ns < 0 || state.waited_ns < 0 ||
      state.waited_ns > state.monotonic_ns || state.umask > 0777 || state.dumpable > 1) {
    return corrupt("its limits, its clock or its mask are not possible");
  }
  STASIS_TRY(check_timers(state));
  STASIS_TRY(check_threads(state));
  STASIS_TRY(check_signals(state.pending));
  STASIS_TRY(check_tmpfs(state));
  for (const PipeState& pipe : state.pipes) {
    if (pipe.bytes.size() > kPipeBytesMax) {
      return corrupt("a pipe holds too much");
    }
  }
  for (const FileState& file : state.files) {
    STASIS_TRY(check_file(state, file));
  }
  STASIS_TRY(check_descriptors(state));
  STASIS_TRY(check_place(state, state.working_directory, "the working directory"));
  STASIS_TRY(check_mappings(state));
  return check_device(state.device);
}

}  // namespace stasis::linux_guest
