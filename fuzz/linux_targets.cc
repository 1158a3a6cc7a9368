#include "fuzz/linux_targets.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "core/check.h"
#include "guests/linux/kernel.h"
#include "guests/linux/kernel/call.h"
#include "tests/guests/linux/fake_cpu.h"
#include "tests/guests/linux/fake_memory.h"

namespace stasis::fuzz {

using namespace stasis::linux_guest;  // NOLINT(google-build-using-namespace)

namespace {

constexpr std::uint64_t kArena = 0x1000'0000;
constexpr std::uint64_t kArenaBytes = 65536;

// Time moves when it is looked at, so that timeouts end.
class SteppingClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return now_ += step; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override {
    return 1'700'000'000'000'000'000 + now_;
  }
  std::int64_t step = 1000;

 private:
  mutable std::int64_t now_ = 0;
};

struct Machine {
  Machine() {
    MapRequest arena;
    arena.hint = UserAddress{kArena};
    arena.size_bytes = kArenaBytes;
    arena.protection = Protection::kRead | Protection::kWrite;
    arena.placement = MapRequest::Placement::kFixed;
    STASIS_CHECK(memory.map(arena) > 0);
    config.executable = "/program";
    config.clock = &clock;
    config.random = [](std::span<std::byte> out) { std::ranges::fill(out, std::byte{1}); };
    config.tmpfs_bytes_max = 262144;
    config.response_bytes_max = 4096;
    reset_registers();
    kernel = make();
  }
  std::unique_ptr<Kernel> make() {
    auto made = Kernel::create(config, memory);
    STASIS_CHECK(made.has_value());
    return *std::move(made);
  }
  void reset_registers() {
    cpu.general().rsp = kArena + kArenaBytes - 128;
    cpu.general().rip = 0x40'1000;
  }
  SteppingClock clock;
  FakeMemory memory;
  FakeCpu cpu;
  KernelConfig config;
  std::unique_ptr<Kernel> kernel;
};

// Takes values from the input, and zeros behind its end.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : left_(bytes) {}
  [[nodiscard]] bool is_empty() const { return left_.empty(); }
  std::uint8_t byte() {
    if (left_.empty()) {
      return 0;
    }
    const auto value = std::to_integer<std::uint8_t>(left_[0]);
    left_ = left_.subspan(1);
    return value;
  }
  std::uint16_t pair() { return static_cast<std::uint16_t>(byte() | (byte() << 8U)); }
  std::span<const std::byte> bytes(std::size_t count) {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> left_;
};

// Small numbers (descriptors, flags, sizes), places in the arena, and the edges of everything.
std::uint64_t argument(Input& input) {
  switch (const std::uint8_t kind = input.byte(); kind % 8) {
    case 0:
    case 1:
      return input.byte();
    case 2:
    case 3:
    case 4:
      return kArena + (input.pair() % kArenaBytes);
    case 5:
      return input.pair();
    case 6:
      return ~std::uint64_t{0} - input.byte();
    default: {
      std::uint64_t value = 0;
      const auto bytes = input.bytes(sizeof value);
      std::memcpy(&value, bytes.data(), bytes.size());
      return value;
    }
  }
}

const std::array<std::string_view, 12> kPaths = {
    "/tmp/a",          "/tmp/b",    "/tmp/d", "/tmp/d/e", "/dev/stasis", "/proc/self/maps",
    "/proc/self/fd/3", "/dev/null", "/",      "..",       "/dev/shm/x",  "/etc/passwd"};

void put_in_memory(Machine& machine, Input& input) {
  const std::uint64_t at = kArena + (input.pair() % kArenaBytes);
  const std::uint8_t what = input.byte();
  if (what < kPaths.size()) {
    std::string path(kPaths[what]);
    static_cast<void>(
        machine.memory.write({at}, std::as_bytes(std::span(path.c_str(), path.size() + 1))));
  } else if (what % 4 == 0) {
    const std::array<std::uint64_t, 4> words = {argument(input), argument(input), argument(input),
                                                argument(input)};
    static_cast<void>(machine.memory.write({at}, std::as_bytes(std::span(words))));
  } else {
    static_cast<void>(machine.memory.write({at}, input.bytes(what % 64)));
  }
}

AfterTrap make_call(Machine& machine, Input& input) {
  const auto table = syscall_table();
  X86GeneralRegisters& general = machine.cpu.general();
  const std::uint16_t index = input.pair();
  general.rax = index < table.size() ? table[index].number : index;
  general.rdi = argument(input);
  general.rsi = argument(input);
  general.rdx = argument(input);
  general.r10 = argument(input);
  general.r8 = argument(input);
  general.r9 = argument(input);
  return machine.kernel->syscall(machine.cpu);
}

// False: the process is gone.
bool step(Machine& machine, Input& input) {
  AfterTrap after = AfterTrap::kContinue;
  switch (const std::uint8_t what = input.byte(); what % 16) {
    case 0:
    case 1:
    case 2:
      put_in_memory(machine, input);
      break;
    case 3:
      static_cast<void>(machine.kernel->post_request(input.bytes(input.byte())).has_value());
      after = machine.kernel->wake(machine.cpu);
      break;
    case 4:
      static_cast<void>(machine.kernel->take_response());
      after = machine.kernel->wake(machine.cpu);
      break;
    case 5:
      after = machine.kernel->fault(machine.cpu, {static_cast<Fault::Kind>(input.byte() % 6),
                                                  input.byte(), input.byte(), argument(input)});
      break;
    case 6:
      machine.clock.step = std::int64_t{1} << (input.byte() % 40U);
      break;
    default:
      after = make_call(machine, input);
  }
  if (after == AfterTrap::kContinue) {
    // What the shim relies on: the process can be entered.
    STASIS_CHECK(machine.cpu.general().rip < kUserSpaceEnd ||
                 machine.cpu.general().rip == 0x40'1000);
  }
  static_cast<void>(machine.kernel->deadline());
  return after != AfterTrap::kExited;
}

void check_round_trip(Machine& machine) {
  machine.clock.step = 0;
  const auto saved = machine.kernel->save();
  STASIS_CHECK(saved.has_value());
  auto next = machine.make();
  const auto loaded = next->load(*saved, Kernel::StaleFiles::kRefuse);
  STASIS_CHECK(loaded.has_value());
  const auto again = next->save();
  STASIS_CHECK(again.has_value() && *again == *saved);
  machine.kernel = std::move(next);
}

}  // namespace

void linux_syscalls(std::span<const std::byte> bytes) {
  Machine machine;
  Input input(bytes);
  bool is_alive = true;
  while (is_alive && !input.is_empty()) {
    is_alive = step(machine, input);
  }
  if (is_alive) {
    check_round_trip(machine);
    static_cast<void>(machine.kernel->wake(machine.cpu));
    static_cast<void>(machine.kernel->counts());
  }
}

void linux_state(std::span<const std::byte> bytes) {
  Machine machine;
  const auto loaded = machine.kernel->load(bytes, Kernel::StaleFiles::kRefuse);
  if (!loaded.has_value()) {
    return;
  }
  static_cast<void>(machine.kernel->deadline());
  if (machine.kernel->wake(machine.cpu) != AfterTrap::kExited) {
    check_round_trip(machine);
  }
}

}  // namespace stasis::fuzz
