#include "tests/snapshot/behaviour/toy_machine.h"

#include <cstring>
#include <random>
#include <utility>

#include "mock/assembler.h"
#include "mock/mock_backend.h"
#include "snapshot/checksum.h"

namespace stasis::snapshot::testing {
namespace {

using namespace mock;  // NOLINT(google-build-using-namespace): R0 to R15.

constexpr mock::Register kAddress = R1, kValue = R2, kOld = R3, kOutput = R13;

// Like a value that a real program would compute: depends on time and place, hardly ever repeats.
void next_value(Assembler& code) {
  code.count(R4)
      .load_imm(R5, 0x9E3779B97F4A7C15)
      .alu(Opcode::kMul, kValue, R4, R5)
      .alu(Opcode::kXor, kValue, kValue, R0);
}

class ProgramWriter {
 public:
  ProgramWriter(const ToyConfig& config, const ToyLayout& layout, std::uint32_t vcpu)
      : layout_(layout), random_(config.seed * 1000 + vcpu), vcpu_(vcpu) {}

  void write(Assembler& code, std::uint32_t operations) {
    code.load_imm(R0, vcpu_ + 1).load_imm(kOutput, OutputDevice::kAddress);
    const Assembler::Label loop = code.here();
    for (std::uint32_t i = 0; i < operations; ++i) {
      operation(code);
    }
    code.jump(loop);
  }

 private:
  std::uint64_t below(std::uint64_t limit) {
    return std::uniform_int_distribution<std::uint64_t>(0, limit - 1)(random_);
  }

  // `size` bytes that lie wholly in data memory.
  Gpa place(std::uint64_t size, std::uint64_t alignment) {
    const GpaRange& range = layout_.data[below(layout_.data.size())];
    if (alignment == 1 && below(3) == 0) {  // Across the end of a page.
      const std::uint64_t page = 4096 * (1 + below(range.size / 4096 - 1));
      return range.begin + (page - below(size + 1));
    }
    return range.begin + align_down(below(range.size - size + 1), alignment);
  }

  void operation(Assembler& code) {
    const std::uint64_t kind = below(16);
    next_value(code);
    if (kind < 9) {
      const auto width = static_cast<std::uint8_t>(1 + below(8));
      code.load_imm(kAddress, place(width, 1).value).store(kValue, kAddress, 0, width);
    } else if (kind < 11) {
      code.load_imm(kAddress, place(8, 8).value).fetch_add(kOld, kAddress, kValue);
    } else if (kind < 13) {
      code.load_imm(kAddress, place(8, 8).value)
          .load(kOld, kAddress, 0, 8)
          .compare_exchange(kOld, kAddress, kValue);
    } else if (kind < 15) {
      code.load_imm(kAddress, place(8, 1).value)
          .load(kOld, kAddress, 0, 8)
          .alu(Opcode::kXor, R0, R0, kOld);
    } else {
      code.store(kValue, kOutput, 0, 8);
    }
  }

  const ToyLayout& layout_;
  std::mt19937_64 random_;
  std::uint32_t vcpu_;
};

template <typename T>
T must(Result<T> result) {
  STASIS_CHECK(result.has_value());
  return *std::move(result);
}

}  // namespace

ToyLayout toy_layout(const ToyConfig& config) {
  const std::uint64_t page = config.page_size_bytes;
  const std::uint64_t data = config.data_pages * page;
  const std::uint64_t code = 16 * 16384 * std::uint64_t{config.vcpus};
  ToyLayout layout;
  layout.code = Gpa{0};
  const GpaRange low{Gpa{0}, code + data};
  const GpaRange middle{low.end(), data};
  const GpaRange high{Gpa{std::uint64_t{64} << 20U}, data};
  for (const GpaRange& range : {low, middle, high}) {
    layout.regions.push_back({range, config.backing, config.huge_pages, {}});
  }
  // One range for both sides of the border, so that accesses may cross it.
  layout.data = {{Gpa{code}, 2 * data}, high};
  return layout;
}

Result<std::uint64_t> OutputDevice::read(std::uint64_t, std::uint8_t, std::uint32_t, DeviceHost&) {
  return std::uint64_t{0};
}

Result<WriteOutcome> OutputDevice::write(std::uint64_t, std::uint8_t, std::uint64_t data,
                                         std::uint32_t, DeviceHost&) {
  const MutexLock lock(mutex_);
  ++count_;
  if (output_.size() < words_max_) {
    output_.push_back(data);
  }
  return WriteOutcome{};
}

Result<DeviceState> OutputDevice::save_state() const {
  const MutexLock lock(mutex_);
  DeviceState state{"output", 1, {}};
  state.bytes.resize(output_.size() * sizeof(std::uint64_t));
  if (!output_.empty()) {
    std::memcpy(state.bytes.data(), output_.data(), state.bytes.size());
  }
  return state;
}

Result<void> OutputDevice::load_state(const DeviceState& state) {
  const MutexLock lock(mutex_);
  output_.resize(state.bytes.size() / sizeof(std::uint64_t));
  if (!output_.empty()) {
    std::memcpy(output_.data(), state.bytes.data(), state.bytes.size());
  }
  return {};
}

std::vector<std::uint64_t> OutputDevice::output() const {
  const MutexLock lock(mutex_);
  return output_;
}

void OutputDevice::keep_at_most(std::size_t words) {
  const MutexLock lock(mutex_);
  words_max_ = words;
}

std::uint64_t OutputDevice::count() const {
  const MutexLock lock(mutex_);
  return count_;
}

ToyBus make_toy_bus() {
  ToyBus result;
  result.bus = std::make_unique<DeviceBus>();
  auto output = std::make_shared<OutputDevice>();
  result.output = output.get();
  STASIS_CHECK(
      result.bus->attach(IoSpace::kMmio, OutputDevice::kAddress, 0x1000, output).has_value());
  return result;
}

std::unique_ptr<HypervisorBackend> make_toy_backend(const ToyConfig& config) {
  MockOptions options;
  options.page_size_bytes = config.page_size_bytes;
  return must(make_mock_backend(options));
}

ToyMachine make_toy_machine(const ToyConfig& config) {
  const ToyLayout layout = toy_layout(config);
  auto memory = must(GuestMemory::create(layout.regions, config.page_size_bytes));
  MachineState state;
  for (std::uint32_t vcpu = 0; vcpu < config.vcpus; ++vcpu) {
    Assembler code(layout.code + vcpu * std::uint64_t{16 * 16384});
    ProgramWriter(config, layout, vcpu).write(code, config.operations);
    STASIS_CHECK(code.bytes().size() <= std::uint64_t{16 * 16384});
    STASIS_CHECK(code.write_to(*memory).has_value());
    ToyVcpuState toy;
    toy.pc = (layout.code + vcpu * std::uint64_t{16 * 16384}).value;
    state.vcpus.emplace_back(toy);
    state.activities.push_back(VcpuActivity::kRunning);
    state.wake_pending.push_back(false);
  }
  state.devices.push_back({"output", 1, {}});
  ToyMachine result;
  result.backend = make_toy_backend(config);
  ToyBus bus = make_toy_bus();
  result.output = bus.output;
  MachineConfig machine_config;
  machine_config.vcpus = config.vcpus;
  machine_config.initial_state = std::move(state);
  result.machine = must(Machine::create(*result.backend, std::move(memory), std::move(bus.bus),
                                        std::move(machine_config)));
  return result;
}

std::uint64_t memory_hash(const GuestMemory& memory) {
  std::uint64_t hash = 0;
  for (const MemoryRegion& region : memory.regions()) {
    hash ^= chunk_checksum({region.host, region.range.size}, region.range.begin);
  }
  return hash;
}

}  // namespace stasis::snapshot::testing
