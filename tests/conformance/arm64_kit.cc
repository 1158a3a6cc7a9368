#include "tests/conformance/arm64_kit.h"

#include <array>
#include <vector>

#include "tests/support/arm64_code.h"

namespace stasis::conformance {
namespace {

// The program of each vCPU has a place of its own.
constexpr std::uint64_t kProgramBytes = std::uint64_t{32} << 10;
// The one translation table: blocks of 1 GiB, the first normal memory, the second for devices.
constexpr std::uint64_t kTranslationTable = std::uint64_t{0x1ff000};
constexpr std::uint64_t kReportAddress = std::uint64_t{1} << 30;
static_assert(kProgramBytes * 32 <= kTranslationTable && kTranslationTable < kKitBytes);

// "VMSAv8-64 translation table format descriptors": block, access flag, inner shareable, MAIR 0
// or 1.
constexpr std::array<std::uint64_t, 2> kBlocks = {0x701, 0x405 | kReportAddress};

constexpr std::uint32_t kMair = 0xc510, kTcr = 0xc102, kTtbr0 = 0xc100, kSctlr = 0xc080;

constexpr std::uint64_t program_address(std::uint32_t index) {
  return kKitBegin.value + index * kProgramBytes;
}

// Turns translation on, so that memory is normal: unaligned and atomic accesses need that.
Arm64Code begin() {
  Arm64Code code;
  code.load_imm(0, 0x00ff).write_system(kMair, 0);  // 0: normal, write-back; 1: device.
  // 39 bits from level 1, write-back walks, inner shareable; 40 bits of physical address.
  code.load_imm(0, (std::uint64_t{2} << 32U) | 0x803519).write_system(kTcr, 0);
  code.load_imm(0, kTranslationTable).write_system(kTtbr0, 0).isb();
  code.load_imm(0, 0x30d01805).write_system(kSctlr, 0).isb();  // M, C, I and what is one.
  return code;
}

class Arm64Kit final : public GuestKit {
 public:
  [[nodiscard]] IoAccess report() const override { return {IoSpace::kMmio, kReportAddress, 4}; }

  Result<VcpuState> finish(GuestMemory& memory, std::uint32_t index) override {
    Arm64Code code = begin();
    return end(code, memory, index);
  }

  Result<VcpuState> report_values(GuestMemory& memory, std::uint32_t index,
                                  std::span<const std::uint32_t> values) override {
    Arm64Code code = begin();
    code.load_imm(2, kReportAddress);
    for (const std::uint32_t value : values) {
      code.load_imm(1, value).store(1, 2, 4);
    }
    return end(code, memory, index);
  }

  Result<VcpuState> store(GuestMemory& memory, std::uint32_t index,
                          std::span<const Store> stores) override {
    Arm64Code code = begin();
    for (const Store& one : stores) {
      code.load_imm(1, one.value).load_imm(2, one.to.value).store(1, 2, one.width_bytes);
    }
    return end(code, memory, index);
  }

  Result<VcpuState> read_device(GuestMemory& memory, std::uint32_t index, Gpa to) override {
    Arm64Code code = begin();
    code.load_imm(2, kReportAddress).load(1, 2, 4).load_imm(3, to.value).store(1, 3);
    return end(code, memory, index);
  }

  Result<VcpuState> copy(GuestMemory& memory, std::uint32_t index, Gpa from, Gpa to) override {
    Arm64Code code = begin();
    code.load_imm(2, from.value).load_imm(3, to.value).load(1, 2).store(1, 3);
    return end(code, memory, index);
  }

  Result<VcpuState> add_atomically(GuestMemory& memory, std::uint32_t index, Gpa counter,
                                   std::uint64_t times) override {
    Arm64Code code = begin();
    code.load_imm(1, counter.value).load_imm(2, 1).load_imm(3, times);
    const Arm64Code::Label loop = code.here();
    code.add_atomically(2, 1).sub_imm(3, 3, 1).branch_if_not_zero(3, loop);
    return end(code, memory, index);
  }

  Result<VcpuState> count_forever(GuestMemory& memory, std::uint32_t index, Gpa counter) override {
    Arm64Code code = begin();
    code.load_imm(1, counter.value);
    const Arm64Code::Label loop = code.here();
    code.load(2, 1).add_imm(2, 2, 1).store(2, 1).branch(loop);
    return end(code, memory, index);
  }

  Result<VcpuState> compute(GuestMemory& memory, std::uint32_t index, Gpa to, std::uint64_t seed,
                            std::uint64_t rounds) override {
    Arm64Code code = begin();
    code.load_imm(1, seed).load_imm(2, rounds).load_imm(3, to.value);
    code.load_imm(4, 6364136223846793005U).load_imm(5, 1442695040888963407U);
    const Arm64Code::Label loop = code.here();
    code.multiply(1, 1, 4).add(1, 1, 5).store(1, 3).sub_imm(2, 2, 1).branch_if_not_zero(2, loop);
    return end(code, memory, index);
  }

  // An instruction that does not exist, and vectors where no memory is.
  Result<VcpuState> fail(GuestMemory& memory, std::uint32_t index) override {
    Arm64Code code = begin();
    code.load_imm(1, std::uint64_t{1} << 29U).write_system(0xc600 /* VBAR_EL1 */, 1).isb();
    code.undefined();
    return end(code, memory, index);
  }

 private:
  static Result<VcpuState> end(Arm64Code& code, GuestMemory& memory, std::uint32_t index) {
    code.load_imm(14, kReportAddress).load_imm(15, kDone).store(15, 14, 4);
    const Arm64Code::Label halted = code.here();
    code.wfi().branch(halted);
    STASIS_CHECK(code.bytes().size() <= kProgramBytes);
    STASIS_TRY(memory.write(Gpa{kTranslationTable}, std::as_bytes(std::span(kBlocks))));
    STASIS_TRY(memory.write(Gpa{program_address(index)}, code.bytes()));
    // The lists stay empty: the program sets up what it needs.
    Arm64VcpuState state;
    state.pc = program_address(index);
    state.pstate = 0x3c5;  // EL1h, all masked.
    return VcpuState(std::move(state));
  }
};

}  // namespace

std::unique_ptr<GuestKit> make_arm64_kit() {
  return std::make_unique<Arm64Kit>();
}

}  // namespace stasis::conformance
