#include "hvf/sim/engine.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include "core/text.h"
#include "hvf/sim/diagnosis.h"
#include "hvf/sim/monitor_image.h"

namespace stasis::hvf::sim {
namespace {

using namespace std::chrono_literals;

// Milliseconds on a quiet machine. Long enough that a loaded one is not taken for a dead one.
constexpr auto kPatience = 60s;
// How often a wait for a guest looks whether a cancellation is overdue.
constexpr auto kGlance = 1s;
// What a PE looks out for a request before it sleeps: 24 MHz, so 20 us.
constexpr std::uint32_t kSpinTicks = 480;

// HCR_EL2.
constexpr std::uint64_t kVirtualFiq = 1U << 6U, kVirtualIrq = 1U << 7U;

Result<UniqueFd> make_program_file() {
  const std::span<const std::byte> image = monitor_image();
  UniqueFd file(::memfd_create("stasis-hvf-sim-monitor", MFD_CLOEXEC));
  if (!file.is_open() ||
      ::write(file.get(), image.data(), image.size()) != static_cast<ssize_t>(image.size())) {
    return Error{Errc::kIo, errno, "a file in memory for the simulation's monitor"};
  }
  return file;
}

}  // namespace

Result<void> check_engine_available() {
  if (monitor_image().empty()) {
    return Error{Errc::kNotSupported, 0,
                 "this build has no monitor for the simulated Hypervisor.framework: install clang "
                 "and lld (scripts/install-packages lint) and configure again"};
  }
  if (!find_qemu().has_value()) {
    return Error{Errc::kNotSupported, 0,
                 "qemu-system-aarch64 is not in PATH: install qemu-system-arm "
                 "(scripts/install-packages test)"};
  }
  return {};
}

Result<std::unique_ptr<Engine>> Engine::start(std::uint32_t pes) {
  STASIS_TRY(check_engine_available());
  STASIS_ASSIGN(auto memory, SharedMemory::create());
  std::unique_ptr<Engine> engine(new Engine(std::move(memory), pes));
  Engine& self = *engine;
  STASIS_ASSIGN(self.program_, make_program_file());
  for (std::uint32_t pe = 0; pe < kPesMax; ++pe) {
    self.mailbox(pe).spin_ticks = kSpinTicks;
  }
  Qemu::Listener listener{
      .on_byte =
          [&self](std::uint8_t byte) {
            const std::uint32_t pe = byte & 0x7fU;
            if (byte == bell_of(pe) && pe < kPesMax) {
              const MutexLock lock(self.mutex_);
              ++self.pes_[pe].bells;
              self.pes_[pe].changed.notify_all();
            }
          },
      .on_end =
          [&self](const Error& why) {
            const MutexLock lock(self.mutex_);
            if (!self.failure_.has_value()) {
              self.failure_ = why;
            }
            for (Pe& pe : self.pes_) {
              pe.changed.notify_all();
            }
          },
  };
  STASIS_ASSIGN(self.qemu_, Qemu::start(self.memory_->fd(), SharedMemory::kBytes,
                                        self.program_.get(), pes, std::move(listener)));
  STASIS_TRY(self.wait_for_bell(0, Bound::kCommand));
  return engine;
}

Result<void> Engine::wait_for_bell(std::uint32_t pe, Bound bound) {
  const auto begin = std::chrono::steady_clock::now();
  const MutexLock lock(mutex_);
  Pe& own = pes_[pe];
  while (own.bells == 0) {
    if (failure_.has_value()) {
      return *failure_;
    }
    const auto now = std::chrono::steady_clock::now();
    const auto since = bound == Bound::kCommand ? std::optional(begin) : own.canceled_at;
    if (since.has_value() && now - *since > kPatience) {
      failure_ = Error{Errc::kBackend, 0,
                       "QEMU has not answered for " +
                           std::to_string(std::chrono::seconds(kPatience).count()) + " s (PE " +
                           std::to_string(pe) + "); it was ended"};
      qemu_->kill();
      return *failure_;
    }
    own.changed.wait_until(mutex_, now + kGlance);
  }
  --own.bells;
  own.canceled_at.reset();
  return {};
}

Result<void> Engine::check_panic(std::uint32_t pe) {
  const Mailbox& box = mailbox(pe);
  if (box.reason != static_cast<std::uint64_t>(Reason::kPanic)) {
    return {};
  }
  Error error{Errc::kBackend, 0,
              "the simulation's monitor failed at " + hex(box.pc) + " (ESR_EL2 " +
                  hex(box.syndrome) + ", FAR_EL2 " + hex(box.virtual_address) + ")"};
  const MutexLock lock(mutex_);
  failure_ = error;
  qemu_->kill();
  return error;
}

// Storing the request and looking whether the PE sleeps is the counterpart of the monitor's storing
// that it sleeps and looking for a request: one of the two sees the other.
Result<void> Engine::request(std::uint32_t pe, Request what, Bound bound) {
  if (auto why = failure(); why.has_value()) {
    return *std::move(why);
  }
  Mailbox& box = mailbox(pe);
  std::atomic_ref(box.request).store(static_cast<std::uint32_t>(what), std::memory_order_seq_cst);
  if (std::atomic_ref(box.is_asleep).load(std::memory_order_seq_cst) != 0) {
    qemu_->send(static_cast<std::uint8_t>(pe));
  }
  STASIS_TRY(wait_for_bell(pe, bound));
  return check_panic(pe);
}

Result<void> Engine::command(std::uint32_t pe, Command what) {
  mailbox(pe).command = static_cast<std::uint32_t>(what);
  return request(pe, Request::kCommand, Bound::kCommand);
}

Result<std::uint64_t> Engine::serve(Command what, std::array<std::uint64_t, 2> arguments) {
  const MutexLock lock(service_);
  Mailbox& box = mailbox(0);
  box.arguments[0] = arguments[0];
  box.arguments[1] = arguments[1];
  STASIS_TRY(command(0, what));
  return box.result;
}

Result<void> Engine::power_on(std::uint32_t pe) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(pes_[pe].is_on, true)) {
      return {};
    }
  }
  STASIS_ASSIGN(const std::uint64_t refusal, serve(Command::kPowerOn, {pe, 0}));
  if (refusal != 0) {
    return Error{Errc::kBackend, 0,
                 "QEMU does not start PE " + std::to_string(pe) + ": PSCI says " + hex(refusal)};
  }
  return wait_for_bell(pe, Bound::kCommand);
}

Result<void> Engine::run(std::uint32_t pe) {
  return request(pe, Request::kRun, Bound::kGuest);
}

Result<void> Engine::save_state(std::uint32_t pe) {
  return command(pe, Command::kSaveState);
}

// The flag is the request; the byte becomes an interrupt that only gets the guest's attention.
void Engine::cancel(std::uint32_t pe) {
  {
    const MutexLock lock(mutex_);
    if (!pes_[pe].canceled_at.has_value()) {
      pes_[pe].canceled_at = std::chrono::steady_clock::now();
    }
  }
  std::atomic_ref(mailbox(pe).cancel).store(1, std::memory_order_seq_cst);
  qemu_->send(static_cast<std::uint8_t>(pe));
}

bool Engine::is_canceled(std::uint32_t pe) {
  return std::atomic_ref(mailbox(pe).cancel).load(std::memory_order_seq_cst) != 0;
}

void Engine::set_lines(std::uint32_t pe, bool irq, bool fiq, Attention attention) {
  const std::uint64_t lines = (irq ? kVirtualIrq : 0) | (fiq ? kVirtualFiq : 0);
  std::atomic_ref(mailbox(pe).lines).store(lines, std::memory_order_seq_cst);
  if (attention == Attention::kNeeded) {
    qemu_->send(static_cast<std::uint8_t>(pe));
  }
}

bool Engine::take_cancel(std::uint32_t pe) {
  {
    const MutexLock lock(mutex_);
    pes_[pe].canceled_at.reset();
  }
  return std::atomic_ref(mailbox(pe).cancel).exchange(0, std::memory_order_seq_cst) != 0;
}

Result<void> Engine::flush_tlbs() {
  STASIS_TRY(serve(Command::kFlushTlbs, {}));
  return {};
}

Result<void> Engine::rewrite(std::uint64_t machine_address, std::uint64_t size) {
  STASIS_TRY(serve(Command::kRewrite, {machine_address, size}));
  return {};
}

Result<std::uint64_t> Engine::counter() {
  return serve(Command::kReadCounter, {});
}

std::optional<Error> Engine::failure() const {
  const MutexLock lock(mutex_);
  return failure_;
}

}  // namespace stasis::hvf::sim
