// Everything of the kernel of a Linux guest that a snapshot has, as plain values: captured from a
// Process, encoded by process_codec, and made into a Process again. References are indices.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/result.h"
#include "guests/linux/files/stasis_device.h"
#include "guests/linux/kernel.h"
#include "guests/linux/kernel/process.h"

namespace stasis::linux_guest {

struct InodeState {
  std::uint64_t number = 0;
  std::uint32_t mode = 0, user = 0, group = 0;
  std::int64_t accessed_ns = 0, modified_ns = 0, changed_ns = 0;
  std::string target = {};
  std::uint64_t size_bytes = 0;
  std::vector<std::uint64_t> page_numbers = {};
  std::vector<std::byte> pages = {};
  struct Entry {
    std::string name;
    std::uint32_t inode = 0;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> entries = {};
  friend bool operator==(const InodeState&, const InodeState&) = default;
};

struct PlaceState {
  std::string path = {};
  bool is_tmpfs = false;
  std::uint32_t mount = 0, inode = 0;
  std::optional<std::uint32_t> folder = {};
  std::string name = {};
  friend bool operator==(const PlaceState&, const PlaceState&) = default;
};

struct WatchState {
  std::int32_t descriptor = 0;
  std::uint32_t file = 0, events = 0, reported_events = 0;
  std::uint64_t data = 0, reported_activity = 0;
  friend bool operator==(const WatchState&, const WatchState&) = default;
};

struct FileState {
  FileKind kind = FileKind::kDevice;
  std::int32_t flags = 0;
  std::uint64_t offset = 0;
  PlaceState place = {};
  HostFileIdentity identity = {};
  std::string content = {};
  struct Listed {
    std::string name;
    std::uint64_t inode = 0;
    std::uint8_t type = 0;
    friend bool operator==(const Listed&, const Listed&) = default;
  };
  std::vector<Listed> listed = {};
  std::uint64_t number = 0;
  bool is_semaphore = false;
  std::vector<std::uint32_t> pipes = {};
  bool reads = false, writes = false;
  std::optional<Deadline> timer = {};
  std::int64_t timer_interval_ns = 0;
  bool timer_is_real = false;
  std::vector<WatchState> watches = {};
  bool was_watched = false;
  friend bool operator==(const FileState&, const FileState&) = default;
};

struct PipeState {
  std::vector<std::byte> bytes = {};
  std::uint64_t activity = 0;
  friend bool operator==(const PipeState&, const PipeState&) = default;
};

struct DescriptorState {
  std::int32_t number = 0;
  std::uint32_t file = 0;
  bool closes_on_exec = false;
  friend bool operator==(const DescriptorState&, const DescriptorState&) = default;
};

struct MappingState {
  std::uint64_t id = 0;
  bool is_tmpfs = false;
  HostFileIdentity identity = {};
  std::uint32_t inode = 0;
  friend bool operator==(const MappingState&, const MappingState&) = default;
};

// Value.
struct ProcessState {
  std::int64_t monotonic_ns = 0;
  std::vector<std::string> arguments = {}, environment = {};
  std::string executable = {};
  std::uint32_t umask = 0, dumpable = 0;
  std::array<ResourceLimit, kResourceLimits> limits = {};
  std::int64_t waited_ns = 0;  // Of monotonic_ns.
  SignalTimers timers = {};
  std::string report = {};
  std::int32_t last_thread_id = 0, loaded_thread = 0;
  std::uint64_t last_futex_order = 0;
  std::vector<Thread> threads = {};
  std::array<SignalAction, kSignalsMax> actions = {};
  std::deque<SignalInfo> pending = {};
  std::vector<InodeState> inodes = {};
  std::uint64_t last_inode = 0;
  std::vector<std::uint32_t> mount_roots = {};
  std::vector<PipeState> pipes = {};
  std::vector<FileState> files = {};
  std::vector<DescriptorState> descriptors = {};
  PlaceState working_directory = {};
  std::vector<MappingState> mappings = {};
  std::uint64_t last_mapping = 0;
  StasisDeviceState device = {};
};

// kInvalidArgument of a process that has ended, kIo of a host file that cannot be read.
Result<ProcessState> capture(const Process& process);
// What no state that capture() has made breaks; what restore() relies on. kCorruption.
Result<void> check_state(const ProcessState& state);
// In place of what the process is; unchanged if it fails. `state` was checked. kMismatch: a file of
// the allow-list is another one than it was.
Result<void> restore(Process& process, const ProcessState& state, Kernel::StaleFiles stale);

}  // namespace stasis::linux_guest
