#include "core/vcpu_thread.h"

#include <string>
#include <utility>

#include "core/clock.h"
#include "core/host_thread.h"

namespace stasis::internal {

VcpuThread::VcpuThread(std::uint32_t index, VcpuContext& context, VcpuStanding standing)
    : index_(index), context_(context), standing_(standing), timer_([this] {
        const MutexLock lock(mutex_);
        interrupt();
      }) {}

VcpuThread::~VcpuThread() {
  stop();
  join();
}

Result<void> VcpuThread::start(Startup& startup, StartOptions options) {
  STASIS_ASSIGN(thread_, HostThread::start("the thread of vCPU " + std::to_string(index_),
                                           [this, &startup, options] { main(startup, options); }));
  return {};
}

void VcpuThread::main(Startup& startup, const StartOptions& options) {
  Vm* const vm = startup.wait_for_vm();
  if (vm == nullptr) {
    startup.arrive({});  // Whoever failed has said why.
    return;
  }
  const Result<void> pinned =
      options.host_cpu ? pin_this_thread(*options.host_cpu) : Result<void>();
  run_on_this_thread(
      startup, options,
      pinned ? vm->create_vcpu(index_) : Result<std::unique_ptr<Vcpu>>(pinned.error()));
}

void VcpuThread::run_on_this_thread(Startup& startup, const StartOptions& options,
                                    Result<std::unique_ptr<Vcpu>> created) {
  Result<void> outcome = load(std::move(created), startup, options);
  const bool usable = outcome.has_value();
  if (!usable) {
    outcome = std::move(outcome).error().with_context("vCPU " + std::to_string(index_));
  }
  startup.arrive(std::move(outcome));
  if (usable && startup.wait_for_all()) {
    serve();
  }
  vcpu_.reset();
}

Result<void> VcpuThread::load(Result<std::unique_ptr<Vcpu>> created, Startup& startup,
                              const StartOptions& options) {
  STASIS_ASSIGN(vcpu_, std::move(created));
  if (options.initial_state != nullptr) {
    STASIS_TRY(vcpu_->load_state(*options.initial_state));
    startup.state_loaded();
  }
  const MutexLock lock(mutex_);
  may_run_ = options.start == StartMode::kRunning;
  return {};
}

void VcpuThread::serve() {
  mutex_.lock();
  while (!stopping_) {
    if (task_ != nullptr) {
      const Task task = std::exchange(task_, nullptr);
      in_task_ = true;
      mutex_.unlock();
      task(*vcpu_);
      mutex_.lock();
      in_task_ = false;
      outside_.notify_one();
    } else if (may_run_ && !held_ && standing_.activity == VcpuActivity::kRunning) {
      inside_ = true;
      WriteFaultHandler* const handler = write_fault_handler_;
      mutex_.unlock();
      run_in_guest(handler);
      mutex_.lock();
      inside_ = false;
      outside_.notify_one();
    } else {
      wait_for_work();
    }
  }
  mutex_.unlock();
}

// A vCPU parked until some time is woken by its own thread, but not while it must stay outside.
void VcpuThread::wait_for_work() {
  if (!may_run_ || held_ || standing_.activity != VcpuActivity::kParked || !park_until_) {
    work_.wait(mutex_);
    return;
  }
  const MonotonicNs now = host_clock().now();  // Not steady_clock's scale.
  const std::chrono::nanoseconds left(*park_until_ > now ? *park_until_ - now : 0);
  const auto until = deadline_after(left);
  if (work_.wait_until(mutex_, until) == std::cv_status::timeout && may_run_ &&
      standing_.activity == VcpuActivity::kParked) {
    standing_.activity = VcpuActivity::kRunning;
    park_until_.reset();
  }
}

void VcpuThread::allow_run(Hold hold) {
  {
    const MutexLock lock(mutex_);
    may_run_ = true;
    held_ = held_ && hold == Hold::kKeep;
  }
  work_.notify_one();
}

void VcpuThread::forbid_run() {
  const MutexLock lock(mutex_);
  may_run_ = false;
  if (inside_) {
    vcpu_->request_exit();
  }
}

bool VcpuThread::wait_outside(std::chrono::steady_clock::time_point deadline) {
  const MutexLock lock(mutex_);
  while (inside_) {
    if (outside_.wait_until(mutex_, deadline) == std::cv_status::timeout) {
      return !inside_;
    }
  }
  return true;
}

void VcpuThread::post(Task task) {
  {
    const MutexLock lock(mutex_);
    STASIS_CHECK(task_ == nullptr && !inside_);
    task_ = std::move(task);
  }
  work_.notify_one();
}

void VcpuThread::wait_done() {
  const MutexLock lock(mutex_);
  while (task_ != nullptr || in_task_) {
    outside_.wait(mutex_);
  }
}

bool VcpuThread::interrupt_for(Task task, std::chrono::steady_clock::time_point deadline) {
  bool goes_on = false;
  {
    const MutexLock lock(mutex_);
    goes_on = may_run_;
  }
  forbid_run();
  const bool outside = wait_outside(deadline);
  if (outside) {
    post(std::move(task));
    wait_done();
  }
  if (goes_on) {
    allow_run(Hold::kKeep);
  }
  return outside;
}

void VcpuThread::step(std::uint64_t instructions) {
  WriteFaultHandler* handler = nullptr;
  {
    const MutexLock lock(mutex_);
    if (held_ || standing_.activity != VcpuActivity::kRunning) {
      return;
    }
    handler = write_fault_handler_;
  }
  post([this, handler, instructions](Vcpu&) { step_in_guest(handler, instructions); });
  wait_done();
}

void VcpuThread::wake() {
  {
    const MutexLock lock(mutex_);
    if (standing_.activity == VcpuActivity::kParked) {
      standing_.activity = VcpuActivity::kRunning;
      park_until_.reset();
    } else {
      standing_.wake_pending = true;
      if (interrupt_on_wake_) {
        interrupt();
      }
    }
  }
  work_.notify_one();
}

void VcpuThread::look_at_memory() {
  const MutexLock lock(mutex_);
  if (inside_ || in_task_) {  // A task may step it.
    vcpu_->request_exit();
  }
}

// A vCPU that is outside is told by before_entry().
void VcpuThread::interrupt() {
  if (inside_ && may_run_) {
    interrupted_ = true;
    vcpu_->request_exit();
  }
}

VcpuStanding VcpuThread::standing() const {
  const MutexLock lock(mutex_);
  VcpuStanding standing = standing_;
  if (park_until_) {
    standing.activity = VcpuActivity::kRunning;  // WriteOutcome::park_until.
  }
  return standing;
}

void VcpuThread::set_standing(VcpuStanding standing) {
  const MutexLock lock(mutex_);
  standing_ = standing;
  park_until_.reset();
  held_ = false;
  failure_.reset();
}

bool VcpuThread::is_held() const {
  const MutexLock lock(mutex_);
  return held_;
}

void VcpuThread::release_hold() {
  const MutexLock lock(mutex_);
  held_ = false;
}

std::optional<Error> VcpuThread::failure() const {
  const MutexLock lock(mutex_);
  return failure_;
}

void VcpuThread::set_write_fault_handler(WriteFaultHandler* handler) {
  const MutexLock lock(mutex_);
  write_fault_handler_ = handler;
}

void VcpuThread::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    may_run_ = false;
    if (inside_) {
      vcpu_->request_exit();
    }
  }
  work_.notify_one();
}

}  // namespace stasis::internal
