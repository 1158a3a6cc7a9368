// From the values of a snapshot to a Process. Everything is built beside what there is; what takes
// its place at the end can no longer fail.
#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "guests/linux/files/directory_file.h"
#include "guests/linux/files/epoll.h"
#include "guests/linux/files/pipe.h"
#include "guests/linux/files/special_files.h"
#include "guests/linux/files/text_file.h"
#include "guests/linux/state/process_state.h"
#include "guests/linux/vfs/tree_nodes.h"

namespace stasis::linux_guest {
namespace {

std::string field(const char* name, std::uint64_t was, std::uint64_t is) {
  return was == is
             ? std::string()
             : std::string(name) + " " + std::to_string(is) + " instead of " + std::to_string(was);
}

// kMismatch, unless the caller accepts it: the file is not what it was.
Result<void> compare(const HostFileIdentity& was, const HostFileIdentity& is,
                     Kernel::StaleFiles stale) {
  if (stale == Kernel::StaleFiles::kAccept) {
    return {};
  }
  std::string difference = field("size", was.size_bytes, is.size_bytes);
  if (difference.empty()) {
    difference = field("modification time", static_cast<std::uint64_t>(was.modified_ns),
                       static_cast<std::uint64_t>(is.modified_ns));
  }
  if (difference.empty() && was.content_hash != 0) {
    difference = field("content hash", was.content_hash, is.content_hash);
  }
  if (difference.empty()) {
    return {};
  }
  return Error{Errc::kMismatch, 0, "'" + was.path + "' has changed since the save: " + difference};
}

class Restorer {
 public:
  Restorer(Process& process, const ProcessState& state, Kernel::StaleFiles stale)
      : process_(&process), state_(&state), stale_(stale) {}
  Result<void> build();
  void apply();

 private:
  Result<std::shared_ptr<const UniqueFd>> open_host(const HostFileIdentity& identity) const;
  Result<void> build_inodes();
  // False: the tmpfs is full.
  [[nodiscard]] bool make_inodes();
  [[nodiscard]] bool link_inodes();
  Result<void> build_mappings();
  Result<NodePointer> node_of(const PlaceState& place) const;
  Result<std::shared_ptr<File>> file_of(const FileState& file);
  Result<std::shared_ptr<File>> host_file(const FileState& file) const;
  Result<std::shared_ptr<File>> folder_file(const FileState& file) const;
  Result<std::shared_ptr<File>> device_file(const FileState& file) const;
  std::shared_ptr<File> stream_file(const FileState& file);
  void build_watches();

  Process* process_;
  const ProcessState* state_;
  Kernel::StaleFiles stale_;
  std::vector<InodePointer> inodes_;
  std::vector<PipePointer> pipes_;
  std::vector<std::shared_ptr<File>> files_;
  std::vector<std::shared_ptr<const MappedFile>> mappings_;
  NodePointer working_directory_;
};

Result<std::shared_ptr<const UniqueFd>> Restorer::open_host(
    const HostFileIdentity& identity) const {
  Vfs& vfs = *process_->vfs;
  if (!identity.path.starts_with('/') || !vfs.host().covers(identity.path)) {
    return Error{Errc::kMismatch, 0, "'" + identity.path + "' is not on the allow-list"};
  }
  auto opened = vfs.host().open_file(identity.path);
  if (!opened.ok()) {
    return errno_error(opened.code().value, "open '" + identity.path + "' again");
  }
  SysOr<HostFileIdentity> now = identity_since(identity, (*opened)->get());
  if (!now.ok()) {
    return errno_error(now.code().value, "read '" + identity.path + "' again");
  }
  STASIS_TRY(compare(identity, *now, stale_));
  return *opened;
}

bool Restorer::make_inodes() {
  for (const InodeState& from : state_->inodes) {
    InodePointer inode = TmpfsInode::make(process_->vfs->space(), from.mode);
    if (inode == nullptr) {
      return false;
    }
    inode->number = from.number;
    inode->target = from.target;
    inode->set_size(from.size_bytes);
    for (std::size_t i = 0; i < from.page_numbers.size(); ++i) {
      const auto page = std::span(from.pages).subspan(i * kPageBytes, kPageBytes);
      if (!inode->set_page(from.page_numbers[i], page)) {
        return false;
      }
    }
    inodes_.push_back(std::move(inode));
  }
  return true;
}

bool Restorer::link_inodes() {
  for (std::size_t i = 0; i < inodes_.size(); ++i) {
    for (const InodeState::Entry& entry : state_->inodes[i].entries) {
      const InodePointer& child = inodes_[entry.inode];
      if (!inodes_[i]->add_entry(entry.name, child)) {
        return false;
      }
      if (child->is_directory()) {
        child->parent = inodes_[i];
        child->name = entry.name;
      }
    }
  }
  return true;
}

Result<void> Restorer::build_inodes() {
  const std::shared_ptr<TmpfsSpace>& space = process_->vfs->space();
  const Error full{Errc::kMismatch, 0,
                   "the tmpfs of the snapshot does not fit into " +
                       std::to_string(space->bytes_max()) + " bytes"};
  std::uint64_t needed = 0;  // Cannot overflow: all of it has been in the message.
  for (const InodeState& from : state_->inodes) {
    needed += kTmpfsInodeCost + from.pages.size() + (from.entries.size() * kTmpfsInodeCost);
  }
  if (needed > space->bytes_max()) {
    return full;
  }
  // Until apply() what was there takes space as well.
  const TmpfsSpace::WithoutLimit without_limit(*space);
  if (!make_inodes() || !link_inodes()) {
    return full;
  }
  for (std::size_t i = 0; i < inodes_.size(); ++i) {  // Last: add_entry() has changed the times.
    const InodeState& from = state_->inodes[i];
    inodes_[i]->user = from.user;
    inodes_[i]->group = from.group;
    inodes_[i]->accessed_ns = from.accessed_ns;
    inodes_[i]->modified_ns = from.modified_ns;
    inodes_[i]->changed_ns = from.changed_ns;
  }
  if (state_->mount_roots.size() != process_->vfs->mounts().size()) {
    return Error{Errc::kMismatch, 0, "the snapshot has another number of tmpfs mounts"};
  }
  return {};
}

Result<void> Restorer::build_mappings() {
  for (const MappingState& from : state_->mappings) {
    if (from.is_tmpfs) {
      mappings_.push_back(
          std::make_shared<const TmpfsMapping>(inodes_[from.inode], from.identity.path, from.id));
      continue;
    }
    STASIS_ASSIGN(auto descriptor, open_host(from.identity));
    mappings_.push_back(
        std::make_shared<const HostMapping>(from.identity, std::move(descriptor), from.id));
  }
  return {};
}

Result<NodePointer> Restorer::node_of(const PlaceState& place) const {
  Vfs& vfs = *process_->vfs;
  if (place.is_tmpfs) {
    return NodePointer(std::make_shared<TmpfsNode>(*vfs.mounts()[place.mount], inodes_[place.inode],
                                                   place.folder ? inodes_[*place.folder] : nullptr,
                                                   place.name));
  }
  NodePointer node = vfs.at(place.path);
  if (node == nullptr) {
    return Error{Errc::kMismatch, ENOENT, "'" + place.path + "' is no longer there"};
  }
  return node;
}

Result<std::shared_ptr<File>> Restorer::host_file(const FileState& file) const {
  STASIS_ASSIGN(auto descriptor, open_host(file.identity));
  NodePointer node = process_->vfs->at(file.identity.path);
  return std::shared_ptr<File>(std::make_shared<HostFile>(file.flags, file.identity.path,
                                                          std::move(descriptor), std::move(node),
                                                          process_->vfs->mappings()));
}

Result<std::shared_ptr<File>> Restorer::folder_file(const FileState& file) const {
  STASIS_ASSIGN(auto node, node_of(file.place));
  if (!node->is_directory()) {
    return Error{Errc::kMismatch, ENOTDIR, "'" + file.place.path + "' is no longer a folder"};
  }
  auto folder = std::make_shared<DirectoryFile>(file.flags, std::move(node));
  std::vector<DirectoryEntry> entries;
  for (const FileState::Listed& listed : file.listed) {
    entries.push_back({listed.name, listed.inode, listed.type});
  }
  folder->set_entries(std::move(entries));
  return std::shared_ptr<File>(std::move(folder));
}

Result<std::shared_ptr<File>> Restorer::device_file(const FileState& file) const {
  const auto& synthetic = process_->vfs->synthetic();
  const auto found = synthetic.find(file.place.path);
  std::shared_ptr<File> opened;
  if (found != synthetic.end() && S_ISCHR(found->second.mode) && found->second.open) {
    opened = found->second.open(file.flags);
  }
  if (opened == nullptr || opened->kind() != FileKind::kDevice) {
    return Error{Errc::kCorruption, 0, "'" + file.place.path + "' is not a device"};
  }
  return opened;
}

std::shared_ptr<File> Restorer::stream_file(const FileState& file) {
  switch (file.kind) {
    case FileKind::kConsole:
      return std::make_shared<ConsoleFile>(file.flags, static_cast<int>(file.number),
                                           process_->config.output);
    case FileKind::kPipe:
      return std::make_shared<PipeFile>(file.flags, pipes_[file.pipes[0]], file.number);
    case FileKind::kSocket: {
      auto socket = std::make_shared<SocketFile>(file.flags, pipes_[file.pipes[0]],
                                                 pipes_[file.pipes[1]], file.number);
      socket->shut_down(!file.reads, !file.writes);
      return socket;
    }
    case FileKind::kEvent:
      return std::make_shared<EventFile>(file.flags, file.number, file.is_semaphore);
    case FileKind::kTimer: {
      auto timer = std::make_shared<TimerFile>(
          file.flags, file.timer_is_real ? ClockKind::kReal : ClockKind::kMonotonic,
          process_->clock);
      timer->arm(file.timer, file.timer_interval_ns);
      return timer;
    }
    case FileKind::kEpoll:
      return std::make_shared<EpollFile>(file.flags);
    case FileKind::kStasis: {
      auto device = std::make_shared<StasisFile>(file.flags, process_->device);
      device->restore(file.reads, file.writes);
      return device;
    }
    default:
      return nullptr;
  }
}

Result<std::shared_ptr<File>> Restorer::file_of(const FileState& file) {
  switch (file.kind) {
    case FileKind::kHost:
      return host_file(file);
    case FileKind::kDirectory:
      return folder_file(file);
    case FileKind::kDevice:
      return device_file(file);
    case FileKind::kTmpfs: {
      STASIS_ASSIGN(auto node, node_of(file.place));
      return std::shared_ptr<File>(
          std::make_shared<TmpfsFile>(file.flags, std::dynamic_pointer_cast<TmpfsNode>(node)));
    }
    case FileKind::kText: {
      FileStat stat;
      stat.device = 2;
      stat.inode = inode_of_path(file.place.path);
      stat.mode = S_IFREG | 0444U;
      return std::shared_ptr<File>(
          std::make_shared<TextFile>(file.flags, file.place.path, file.content, stat));
    }
    default:
      return stream_file(file);
  }
}

void Restorer::build_watches() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    auto* const epoll = dynamic_cast<EpollFile*>(files_[i].get());
    if (epoll == nullptr) {
      continue;
    }
    std::map<int, EpollWatch> watches;
    for (const WatchState& from : state_->files[i].watches) {
      watches[from.descriptor] = {files_[from.file], from.events, from.data, from.reported_activity,
                                  from.reported_events};
    }
    epoll->restore(std::move(watches));
    if (state_->files[i].was_watched) {
      epoll->mark_watched();
    }
  }
}

Result<void> Restorer::build() {
  STASIS_TRY(build_inodes());
  for (const PipeState& from : state_->pipes) {
    auto pipe = std::make_shared<PipeBuffer>();
    pipe->bytes.assign(from.bytes.begin(), from.bytes.end());
    pipes_.push_back(std::move(pipe));
  }
  STASIS_TRY(build_mappings());
  for (const FileState& file : state_->files) {
    STASIS_ASSIGN(auto made, file_of(file));
    made->set_offset(file.offset);
    files_.push_back(std::move(made));
  }
  for (std::size_t i = 0; i < pipes_.size(); ++i) {
    pipes_[i]->activity = state_->pipes[i].activity;  // What building the ends has added is undone.
  }
  build_watches();
  STASIS_ASSIGN(working_directory_, node_of(state_->working_directory));
  return working_directory_->is_directory()
             ? Result<void>()
             : Error{Errc::kMismatch, ENOTDIR, "the working directory is no longer a folder"};
}

void Restorer::apply() {
  Process& process = *process_;
  process.descriptors.clear();
  for (const DescriptorState& from : state_->descriptors) {
    process.descriptors.put_loaded(from.number, {files_[from.file], from.closes_on_exec});
  }
  process.descriptors.set_limit(state_->limits[RLIMIT_NOFILE].soft);
  for (std::size_t i = 0; i < process.vfs->mounts().size(); ++i) {
    process.vfs->mounts()[i]->root = inodes_[state_->mount_roots[i]];
  }
  process.vfs->space()->set_last_number(state_->last_inode);
  process.working_directory = working_directory_;
  MappingRegistry& mappings = process.vfs->mappings();
  mappings.clear();
  mappings.set_last_id(state_->last_mapping);
  for (const auto& mapping : mappings_) {
    mappings.keep_loaded(mapping);
  }
  process.device.restore(state_->device);
  process.clock.resume_at(state_->monotonic_ns, state_->waited_ns);
  process.config.arguments = state_->arguments;
  process.config.environment = state_->environment;
  process.config.executable = state_->executable;
  process.umask = state_->umask;
  process.dumpable = static_cast<int>(state_->dumpable);
  process.limits = state_->limits;
  process.timers = state_->timers;
  process.exit = {};
  process.exit.report = state_->report;
  process.has_exited = false;
  process.signals.restore(state_->actions, state_->pending);
  process.threads.clear();
  for (const Thread& thread : state_->threads) {
    process.threads.add(thread);
  }
  process.threads.set_loaded(state_->loaded_thread);
  process.threads.set_last_id(state_->last_thread_id);
  process.threads.set_last_order(state_->last_futex_order);
}

}  // namespace

Result<void> restore(Process& process, const ProcessState& state, Kernel::StaleFiles stale) {
  Restorer restorer(process, state, stale);
  STASIS_TRY(restorer.build());
  restorer.apply();
  return {};
}

}  // namespace stasis::linux_guest
