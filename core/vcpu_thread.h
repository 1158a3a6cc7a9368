// The one thread that owns one vCPU: it creates it, runs it, answers its exits, saves, loads and
// destroys it. Private to core/.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "core/device.h"
#include "core/dirty_tracker.h"
#include "core/event_queue.h"
#include "core/host_thread.h"
#include "core/hypervisor.h"
#include "core/machine.h"
#include "core/milestones.h"
#include "core/mutex.h"
#include "core/startup.h"
#include "core/trap.h"
#include "core/vcpu_timer.h"

namespace stasis::internal {

// What the vCPU threads of one Machine share. Borrowed: it all outlives the threads.
struct VcpuContext {
  const DeviceBus& bus;
  DeviceHost& host;
  EventQueue& events;
  MilestoneLog* milestones = nullptr;
  std::uint32_t vcpu_count = 0;
  std::atomic<std::uint32_t> halted = 0;  // vCPUs whose activity is kHalted.
  TrapHandler* trap_handler = nullptr;    // Null: no device has one.
};

// Where a vCPU of a paused Machine stands. Value.
struct VcpuStanding {
  VcpuActivity activity = VcpuActivity::kRunning;
  bool wake_pending = false;
};

// Thread-safe, as far as the owner's calls come one at a time. All waiting is on one mutex per
// vCPU, which no thread holds while it runs the guest, a device or a task.
class VcpuThread {
 public:
  VcpuThread(std::uint32_t index, VcpuContext& context, VcpuStanding standing);
  ~VcpuThread();  // stop() and join.
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  struct StartOptions {
    std::optional<int> host_cpu = {};          // Pinned to this host CPU.
    const VcpuState* initial_state = nullptr;  // Borrowed until the start-up is over.
    StartMode start = StartMode::kPaused;
  };
  // Starts the thread, which then takes part in `startup` (borrowed until it has ended).
  Result<void> start(Startup& startup, StartOptions options);
  // The same on a thread that runs already and has tried to create the vCPU: it calls
  // run_on_this_thread(), and the owner adopts it.
  void run_on_this_thread(Startup& startup, const StartOptions& options,
                          Result<std::unique_ptr<Vcpu>> created);
  void adopt(HostThread thread) { thread_ = std::move(thread); }

  // Owner: let the vCPU into the guest, if it is not held (any more).
  enum class Hold : std::uint8_t { kKeep, kRelease };
  void allow_run(Hold hold);
  // Owner: ask the vCPU out of the guest; it stays out until allow_run().
  void forbid_run();
  // Owner, after forbid_run(): false when the vCPU was still inside at `deadline`.
  [[nodiscard]] bool wait_outside(std::chrono::steady_clock::time_point deadline);

  // Owner, while outside: executes `task` on the vCPU's thread. wait_done() follows each post().
  using Task = std::function<void(Vcpu&)>;
  void post(Task task);
  void wait_done();
  // Owner, at any time: as post() and wait_done(); a vCPU in the guest leaves it for the task and
  // goes on. False, and the task is not executed, when it was still inside at `deadline`.
  [[nodiscard]] bool interrupt_for(Task task, std::chrono::steady_clock::time_point deadline);
  // Owner, while outside: retires up to `instructions` more, unless parked, halted or held.
  void step(std::uint64_t instructions);

  // Any thread.
  void wake();
  // Any thread, when GuestMemory::check_intact() has begun to fail: a vCPU that is in the guest, or
  // enters it, finds out at once.
  void look_at_memory();

  // Owner, while outside.
  [[nodiscard]] VcpuStanding standing() const;
  void set_standing(VcpuStanding standing);  // Also forgets a hold and a failure.
  [[nodiscard]] bool is_held() const;
  void release_hold();
  [[nodiscard]] std::optional<Error> failure() const;
  void set_write_fault_handler(WriteFaultHandler* handler);
  [[nodiscard]] Machine::Counters counters() const { return counters_; }

  // Ends the thread's loop, once what it is doing is done; join() waits for that. Both may be
  // called again; the destructor calls both.
  void stop();
  void join() { thread_.join(); }

 private:
  enum class Next : std::uint8_t { kEnterGuest, kLeave };
  class ExitVisitor;

  // All of these on the vCPU's thread only.
  void main(Startup& startup, const StartOptions& options);
  Result<void> load(Result<std::unique_ptr<Vcpu>> created, Startup& startup,
                    const StartOptions& options);
  void serve();
  void wait_for_work() STASIS_REQUIRES(mutex_);
  void run_in_guest(WriteFaultHandler* handler);
  void step_in_guest(WriteFaultHandler* handler, std::uint64_t instructions);
  Next handle(const Result<VcpuExit>& exit, WriteFaultHandler* handler);
  Next check_memory();  // GuestMemory::check_intact().
  Next read_device(const IoAccess& access);
  Next write_device(const IoAccess& access, std::uint64_t data);
  Result<WriteOutcome> trap(TrapHandler& handler, std::uint64_t offset);
  Next after_write(WriteOutcome outcome);
  Next canceled();
  Result<void> before_entry();
  Result<void> plan_interrupt(const InterruptPlan& plan);
  void interrupt() STASIS_REQUIRES(mutex_);  // Any thread.
  Next write_fault(Gpa gpa, WriteFaultHandler* handler);
  Next halt();
  Next shut_down(ShutdownKind kind);
  Next fail(MachineEvent::Kind kind, Error error);
  void post_event(MachineEvent event);

  // Constant after construction.
  const std::uint32_t index_;
  VcpuContext& context_;

  // The vCPU's thread only, but for request_exit() while inside_. The owner reads the counters
  // while the vCPU is outside, which mutex_ orders.
  std::unique_ptr<Vcpu> vcpu_;
  Machine::Counters counters_;
  InterruptPlan planned_;  // What was last asked for.

  mutable Mutex mutex_;
  ConditionVariable work_;     // For the vCPU's thread: something below has changed.
  ConditionVariable outside_;  // For the owner: the guest is left, or the task done.
  bool may_run_ STASIS_GUARDED_BY(mutex_) = false;
  bool inside_ STASIS_GUARDED_BY(mutex_) = false;  // Runs the guest, or answers its exit.
  bool in_task_ STASIS_GUARDED_BY(mutex_) = false;
  bool held_ STASIS_GUARDED_BY(mutex_) = false;
  bool stopping_ STASIS_GUARDED_BY(mutex_) = false;
  VcpuStanding standing_ STASIS_GUARDED_BY(mutex_);
  std::optional<MonotonicNs> park_until_ STASIS_GUARDED_BY(mutex_);  // Only while parked.
  bool interrupted_ STASIS_GUARDED_BY(mutex_) = false;  // An exit was requested for the handler.
  bool interrupt_on_wake_ STASIS_GUARDED_BY(mutex_) = false;
  Task task_ STASIS_GUARDED_BY(mutex_);
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  WriteFaultHandler* write_fault_handler_ STASIS_GUARDED_BY(mutex_) = nullptr;

  VcpuTimer timer_;    // Its thread uses what is above.
  HostThread thread_;  // The owner's; last, so that it ends before what it uses.
};

}  // namespace stasis::internal
