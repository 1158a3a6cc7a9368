// From a Process to its values.
#include <algorithm>
#include <unordered_map>

#include "guests/linux/files/directory_file.h"
#include "guests/linux/files/epoll.h"
#include "guests/linux/files/pipe.h"
#include "guests/linux/files/special_files.h"
#include "guests/linux/files/text_file.h"
#include "guests/linux/state/process_state.h"

namespace stasis::linux_guest {
namespace {

// Numbers objects in the order in which they are met.
template <typename T>
class Numbering {
 public:
  std::uint32_t of(const std::shared_ptr<T>& object) {
    const auto [at, is_new] =
        numbers_.try_emplace(object.get(), static_cast<std::uint32_t>(objects_.size()));
    if (is_new) {
      objects_.push_back(object);
    }
    return at->second;
  }
  [[nodiscard]] std::optional<std::uint32_t> find(const T* object) const {
    const auto found = numbers_.find(object);
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] const std::vector<std::shared_ptr<T>>& objects() const { return objects_; }

 private:
  std::unordered_map<const T*, std::uint32_t> numbers_;
  std::vector<std::shared_ptr<T>> objects_;
};

class Capture {
 public:
  explicit Capture(const Process& process) : process_(&process) {}
  Result<ProcessState> run();

 private:
  void plain(ProcessState& state) const;
  PlaceState place(const NodePointer& node);
  FileState file(const std::shared_ptr<File>& file);
  void streams(const File& file, FileState& state);
  void epoll(const EpollFile& epoll, FileState& state) const;
  Result<void> mappings(ProcessState& state);
  void inodes(ProcessState& state);

  const Process* process_;
  Numbering<TmpfsInode> inodes_;
  Numbering<PipeBuffer> pipes_;
  Numbering<File> files_;
};

void Capture::plain(ProcessState& state) const {
  const Process& process = *process_;
  state.monotonic_ns = process.clock.monotonic_ns();
  state.waited_ns = std::min(process.clock.waited_ns(), state.monotonic_ns);
  state.arguments = process.config.arguments;
  state.environment = process.config.environment;
  state.executable = process.config.executable;
  state.umask = process.umask;
  state.dumpable = static_cast<std::uint32_t>(process.dumpable);
  state.limits = process.limits;
  state.timers = process.timers;
  state.report = process.exit.report;
  state.last_thread_id = process.threads.last_id();
  state.last_futex_order = process.threads.last_order();
  state.loaded_thread = process.threads.loaded_id();
  for (const auto& [id, thread] : process.threads.all()) {
    state.threads.push_back(thread);
    if (id == state.loaded_thread) {
      state.threads.back().context = {};  // On the vCPU.
    }
  }
  state.actions = process.signals.actions();
  state.pending = process.signals.shared();
  state.last_inode = process.vfs->space()->last_number();
  state.last_mapping = process.vfs->mappings().last_id();
  state.device = process.device.state();
}

PlaceState Capture::place(const NodePointer& node) {
  PlaceState place;
  if (node == nullptr) {
    return place;
  }
  const auto* const tmpfs = dynamic_cast<const TmpfsNode*>(node.get());
  if (tmpfs == nullptr) {
    place.path = node->path();
    return place;
  }
  place.is_tmpfs = true;
  const auto& mounts = process_->vfs->mounts();
  const auto mount =
      std::ranges::find_if(mounts, [&](const auto& one) { return one.get() == &tmpfs->mount(); });
  place.mount = static_cast<std::uint32_t>(mount - mounts.begin());
  place.inode = inodes_.of(tmpfs->inode());
  if (tmpfs->folder() != nullptr) {
    place.folder = inodes_.of(tmpfs->folder());
  }
  place.name = tmpfs->name();
  return place;
}

void Capture::streams(const File& file, FileState& state) {
  if (const auto* const pipe = dynamic_cast<const PipeFile*>(&file)) {
    state.pipes = {pipes_.of(pipe->pipe())};
    state.number = pipe->inode();
  } else if (const auto* const socket = dynamic_cast<const SocketFile*>(&file)) {
    state.pipes = {pipes_.of(socket->in()), pipes_.of(socket->out())};
    state.number = socket->inode();
    state.reads = socket->reads();
    state.writes = socket->writes();
  } else if (const auto* const event = dynamic_cast<const EventFile*>(&file)) {
    state.number = event->count();
    state.is_semaphore = event->is_semaphore();
  } else if (const auto* const timer = dynamic_cast<const TimerFile*>(&file)) {
    state.timer = timer->next();
    state.timer_interval_ns = timer->interval_ns();
    state.timer_is_real = timer->clock_kind() == ClockKind::kReal;
  } else if (const auto* const device = dynamic_cast<const StasisFile*>(&file)) {
    state.reads = device->opened_active();
    state.writes = device->wrote();
  }
}

void Capture::epoll(const EpollFile& epoll, FileState& state) const {
  state.was_watched = epoll.was_watched();
  for (const auto& [number, watch] : epoll.watches()) {
    const auto file = watch.file.lock();
    const auto index = file == nullptr ? std::nullopt : files_.find(file.get());
    if (index) {
      state.watches.push_back({number, *index, watch.events, watch.reported_events, watch.data,
                               watch.reported_activity});
    }
  }
}

FileState Capture::file(const std::shared_ptr<File>& file) {
  FileState state;
  state.kind = file->kind();
  state.flags = file->flags();
  state.offset = file->offset();
  switch (file->kind()) {
    case FileKind::kHost:
    case FileKind::kTmpfs:
      state.place = place(file->node());
      break;
    case FileKind::kDirectory: {
      state.place = place(file->directory());
      const auto& folder = dynamic_cast<const DirectoryFile&>(*file);
      for (const DirectoryEntry& entry : folder.listed()) {
        state.listed.push_back({entry.name, entry.inode, entry.type});
      }
      break;
    }
    case FileKind::kText:
      state.place.path = file->path();
      state.content = dynamic_cast<const TextFile&>(*file).content();
      break;
    case FileKind::kDevice:
      state.place.path = file->path();
      break;
    case FileKind::kConsole:
      state.number = static_cast<std::uint64_t>(dynamic_cast<const ConsoleFile&>(*file).number());
      break;
    case FileKind::kEpoll:
      epoll(dynamic_cast<const EpollFile&>(*file), state);
      break;
    default:
      streams(*file, state);
  }
  return state;
}

Result<void> Capture::mappings(ProcessState& state) {
  for (const auto& mapped : process_->vfs->mappings().in_use()) {
    MappingState mapping;
    mapping.id = mapped->snapshot_id();
    if (const auto* const tmpfs = dynamic_cast<const TmpfsMapping*>(mapped.get())) {
      mapping.is_tmpfs = true;
      mapping.identity.path = tmpfs->path();
      mapping.inode = inodes_.of(tmpfs->inode());
    } else if (const auto* const host = dynamic_cast<const HostMapping*>(mapped.get())) {
      SysOr<HostFileIdentity> identity = host->identity_now();
      if (!identity.ok()) {
        return errno_error(identity.code().value, "read '" + host->path() + "' for its hash");
      }
      mapping.identity = *identity;
    }
    state.mappings.push_back(std::move(mapping));
  }
  return {};
}

void Capture::inodes(ProcessState& state) {
  // Grows while it is walked: entries lead to more.
  for (std::size_t i = 0; i < inodes_.objects().size(); ++i) {
    const InodePointer inode = inodes_.objects()[i];
    InodeState made;
    made.number = inode->number;
    made.mode = inode->mode;
    made.user = inode->user;
    made.group = inode->group;
    made.accessed_ns = inode->accessed_ns;
    made.modified_ns = inode->modified_ns;
    made.changed_ns = inode->changed_ns;
    made.target = inode->target;
    made.size_bytes = inode->size_bytes();
    made.pages.reserve(inode->pages().size() * kPageBytes);
    for (const auto& [number, page] : inode->pages()) {
      made.page_numbers.push_back(number);
      made.pages.insert(made.pages.end(), page->begin(), page->end());
    }
    for (const auto& [name, child] : inode->entries()) {
      made.entries.push_back({name, inodes_.of(child)});
    }
    state.inodes.push_back(std::move(made));
  }
}

Result<ProcessState> Capture::run() {
  if (process_->has_exited) {
    return Error{Errc::kInvalidArgument, 0, "the Linux process has ended"};
  }
  ProcessState state;
  plain(state);
  for (const auto& mount : process_->vfs->mounts()) {
    state.mount_roots.push_back(inodes_.of(mount->root));
  }
  for (const auto& [number, descriptor] : process_->descriptors.all()) {
    state.descriptors.push_back({number, files_.of(descriptor.file), descriptor.closes_on_exec});
  }
  for (const auto& open : files_.objects()) {
    state.files.push_back(file(open));
    if (const auto* const host = dynamic_cast<const HostFile*>(open.get())) {
      SysOr<HostFileIdentity> identity = host->identity();
      if (!identity.ok()) {
        return errno_error(identity.code().value, "read '" + host->path() + "' for its hash");
      }
      state.files.back().identity = *identity;
    }
  }
  state.working_directory = place(process_->working_directory);
  STASIS_TRY(mappings(state));
  inodes(state);
  for (const PipePointer& pipe : pipes_.objects()) {
    state.pipes.push_back({{pipe->bytes.begin(), pipe->bytes.end()}, pipe->activity});
  }
  return state;
}

}  // namespace

Result<ProcessState> capture(const Process& process) {
  return Capture(process).run();
}

}  // namespace stasis::linux_guest
