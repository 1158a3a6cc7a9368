#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "guests/linux/files/special_files.h"
#include "guests/linux/kernel/call.h"
#include "guests/linux/kernel/scheduler.h"
#include "guests/linux/signals/delivery.h"
#include "guests/linux/state/process_codec.h"
#include "guests/linux/state/process_state.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kCountedMax = 1024;  // Different numbers; the guest chooses them.

class KernelImpl final : public Kernel {
 public:
  KernelImpl(KernelConfig config, AddressSpace& memory, std::unique_ptr<Vfs> vfs)
      : process_(std::move(config), memory, std::move(vfs)), scheduler_(process_) {}

  Result<void> start();

  AfterTrap syscall(TrapCpu& cpu) override;
  AfterTrap fault(TrapCpu& cpu, const Fault& fault) override;
  AfterTrap preempt(TrapCpu& cpu) override;
  [[nodiscard]] RunLimit run_limit() override {
    return process_.has_exited ? RunLimit() : scheduler_.run_limit();
  }
  CounterTime follow_counter(Counter counter, std::uint32_t khz) override {
    return process_.clock.follow(std::move(counter), khz);
  }
  [[nodiscard]] std::optional<CounterTime> corrected_time() override {
    return process_.clock.correct();
  }
  AfterTrap wake(TrapCpu& cpu) override;
  [[nodiscard]] std::optional<MonotonicNs> deadline() const override {
    return scheduler_.deadline();
  }

  Result<void> post_request(std::span<const std::byte> request) override {
    return process_.device.post(request);
  }
  [[nodiscard]] bool wants_request() const override {
    return process_.device.state().wants_request;
  }
  [[nodiscard]] std::optional<std::vector<std::byte>> take_response() override {
    return process_.device.take_response();
  }
  [[nodiscard]] const ExitStatus& exit_status() const override { return process_.exit; }
  [[nodiscard]] std::vector<SyscallCount> counts() const override;

  [[nodiscard]] Result<std::vector<std::byte>> save() const override {
    STASIS_ASSIGN(const ProcessState state, capture(process_));
    return encode_process(state);
  }
  Result<void> load(std::span<const std::byte> state, StaleFiles stale) override {
    STASIS_ASSIGN(const ProcessState decoded, decode_process(state));
    return restore(process_, decoded, stale);
  }
  [[nodiscard]] std::shared_ptr<const MappedFile> mapped_file(std::uint64_t id) const override {
    return process_.vfs->mappings().find(id);
  }

 private:
  AfterTrap leave(AfterTrap after);
  void count(std::uint64_t number, SysResult result);

  Process process_;
  Scheduler scheduler_;
  std::map<std::uint64_t, SyscallCount> counts_;
};

Result<void> KernelImpl::start() {
  SysOr<NodePointer> folder = process_.vfs->find(process_.config.working_directory);
  if (!folder.ok() || !(*folder)->is_directory()) {
    return Error{Errc::kNotFound, folder.ok() ? ENOTDIR : folder.code().value,
                 "the working directory '" + process_.config.working_directory +
                     "' is not a folder that the guest may see (is it on the allow-list?)"};
  }
  process_.working_directory = *folder;
  Thread main;
  main.id = kProcessId;
  const std::string& path = process_.config.executable;
  main.name = path.substr(path.rfind('/') + 1).substr(0, 15);
  process_.threads.add(std::move(main));
  process_.threads.set_loaded(kProcessId);
  for (int number = 0; number < 3; ++number) {
    const auto file = std::make_shared<ConsoleFile>(number == 0 ? O_RDONLY : O_WRONLY, number,
                                                    process_.config.output);
    STASIS_CHECK(process_.descriptors.add({file, false}).ok());
  }
  return {};
}

void KernelImpl::count(std::uint64_t number, SysResult result) {
  const SyscallEntry* const entry = find_syscall(number);
  if (entry == nullptr && counts_.size() >= kCountedMax) {
    return;
  }
  SyscallCount& counted = counts_[number];
  counted.number = number;
  counted.name = entry == nullptr ? "unknown" : entry->name;
  counted.is_known = entry != nullptr && entry->handler != nullptr;
  ++counted.calls;
  counted.errors += result < 0 && result > -4096 ? 1 : 0;
}

AfterTrap KernelImpl::syscall(TrapCpu& cpu) {
  Thread* const thread = process_.threads.loaded();
  if (process_.has_exited || thread == nullptr) {
    return AfterTrap::kExited;
  }
  process_.vfs->mappings().release_loaded();
  const X86GeneralRegisters& general = cpu.general();
  const std::uint64_t number = general.rax;
  const SyscallEntry* const entry = find_syscall(number);
  Call call{process_,
            *thread,
            &cpu,
            number,
            {general.rdi, general.rsi, general.rdx, general.r10, general.r8, general.r9},
            nullptr};
  const SysResult result =
      entry == nullptr || entry->handler == nullptr ? -ENOSYS : entry->handler(call);
  count(number, result);
  if (result == kRegistersSet) {
    // The thread may be gone.
    Thread* const left = process_.threads.loaded();
    if (left != nullptr) {
      scheduler_.finish_call(*left, cpu, result);
    }
  } else {
    scheduler_.finish_call(*thread, cpu, result);
  }
  return leave(scheduler_.resume(cpu));
}

// Processor time ends with a wait.
AfterTrap KernelImpl::leave(AfterTrap after) {
  if (after == AfterTrap::kWait) {
    process_.clock.begin_wait();
  }
  return after;
}

AfterTrap KernelImpl::preempt(TrapCpu& cpu) {
  if (process_.has_exited || process_.threads.loaded() == nullptr) {
    return AfterTrap::kExited;
  }
  process_.vfs->mappings().release_loaded();
  return leave(scheduler_.preempt(cpu));
}

AfterTrap KernelImpl::fault(TrapCpu& cpu, const Fault& fault) {
  Thread* const thread = process_.threads.loaded();
  if (process_.has_exited || thread == nullptr) {
    return AfterTrap::kExited;
  }
  send_fault(process_, *thread, cpu, fault);
  return leave(scheduler_.resume(cpu));
}

AfterTrap KernelImpl::wake(TrapCpu& cpu) {
  if (process_.has_exited) {
    return AfterTrap::kExited;
  }
  process_.clock.end_wait();
  scheduler_.yield();
  return leave(scheduler_.resume(cpu));
}

std::vector<SyscallCount> KernelImpl::counts() const {
  std::vector<SyscallCount> counts;
  for (const auto& [number, counted] : counts_) {
    counts.push_back(counted);
  }
  std::ranges::stable_sort(counts, std::ranges::greater(), &SyscallCount::calls);
  return counts;
}

}  // namespace

Result<std::unique_ptr<Kernel>> Kernel::create(KernelConfig config, AddressSpace& memory) {
  STASIS_ASSIGN(auto vfs, Vfs::create({config.allow_read, config.tmpfs_bytes_max, config.clock}));
  auto kernel = std::make_unique<KernelImpl>(std::move(config), memory, std::move(vfs));
  STASIS_TRY(kernel->start());
  return std::unique_ptr<Kernel>(std::move(kernel));
}

}  // namespace stasis::linux_guest
