// Everything that the process is to its kernel, besides its memory: the parts, and no more. What
// they do together is in calls/, what moves the threads in kernel/scheduler.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "guests/linux/files/descriptor_table.h"
#include "guests/linux/files/stasis_device.h"
#include "guests/linux/kernel.h"
#include "guests/linux/kernel/guest_clock.h"
#include "guests/linux/kernel/signal_timers.h"
#include "guests/linux/kernel/threads.h"
#include "guests/linux/signals/signal_table.h"
#include "guests/linux/vfs/vfs.h"

namespace stasis::linux_guest {

// The one process there is, as it sees itself.
constexpr int kProcessId = 100;
constexpr std::uint32_t kUserId = 0;  // root: what it may read is decided by the allow-list.
constexpr std::uint32_t kGroupId = 0;

struct ResourceLimit {
  std::uint64_t soft = 0, hard = 0;
  friend bool operator==(const ResourceLimit&, const ResourceLimit&) = default;
};
constexpr std::size_t kResourceLimits = 16;  // RLIM_NLIMITS

// Resource: its parts point to each other and to the memory.
struct Process {
  Process(KernelConfig the_config, AddressSpace& the_memory, std::unique_ptr<Vfs> the_vfs);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  KernelConfig config;
  AddressSpace* memory;
  GuestClock clock;
  std::unique_ptr<Vfs> vfs;
  StasisDevice device;
  DescriptorTable descriptors;
  SignalTable signals;
  Threads threads;
  NodePointer working_directory;
  std::uint32_t umask = 022;
  std::array<ResourceLimit, kResourceLimits> limits;
  SignalTimers timers;
  ExitStatus exit;
  bool has_exited = false;
  bool yields = false;  // The running thread gives way to the others.
  int dumpable = 1;     // prctl

  void random(std::span<std::byte> out) const;
  void end(int code, int signal, const std::string& report);
  // Adds to the report that comes with the end, up to a limit.
  void note(const std::string& line);
  // A signal from outside of any thread: a timer, a fault of the pipe's writer.
  void send_to_process(int signal, int code);
};

}  // namespace stasis::linux_guest
