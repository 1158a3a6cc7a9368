#include "tests/conformance/toy_kit.h"

#include "mock/assembler.h"

namespace stasis::conformance {
namespace {

using mock::Assembler;
using mock::Opcode;
using enum mock::Register;

// The program of each vCPU has a place of its own.
constexpr std::uint64_t kProgramBytes = std::uint64_t{32} << 10;
constexpr std::uint64_t kReportAddress = std::uint64_t{1} << 32;
static_assert(kProgramBytes * 32 <= kKitBytes);

Assembler begin(std::uint32_t index) {
  return Assembler(kKitBegin + index * kProgramBytes);
}

Result<VcpuState> end(Assembler& code, GuestMemory& memory, std::uint32_t index) {
  code.load_imm(R14, kReportAddress).load_imm(R15, kDone).store(R15, R14, 0, 4).halt();
  STASIS_CHECK(code.bytes().size() <= kProgramBytes);
  STASIS_TRY(code.write_to(memory));
  ToyVcpuState state;
  state.pc = (kKitBegin + index * kProgramBytes).value;
  return VcpuState(state);
}

class ToyKit final : public GuestKit {
 public:
  [[nodiscard]] IoAccess report() const override { return {IoSpace::kMmio, kReportAddress, 4}; }

  Result<VcpuState> finish(GuestMemory& memory, std::uint32_t index) override {
    Assembler code = begin(index);
    return end(code, memory, index);
  }

  Result<VcpuState> report_values(GuestMemory& memory, std::uint32_t index,
                                  std::span<const std::uint32_t> values) override {
    Assembler code = begin(index);
    code.load_imm(R2, kReportAddress);
    for (const std::uint32_t value : values) {
      code.load_imm(R1, value).store(R1, R2, 0, 4);
    }
    return end(code, memory, index);
  }

  Result<VcpuState> store(GuestMemory& memory, std::uint32_t index,
                          std::span<const Store> stores) override {
    Assembler code = begin(index);
    for (const Store& one : stores) {
      code.load_imm(R1, one.value).load_imm(R2, one.to.value).store(R1, R2, 0, one.width_bytes);
    }
    return end(code, memory, index);
  }

  Result<VcpuState> read_device(GuestMemory& memory, std::uint32_t index, Gpa to) override {
    Assembler code = begin(index);
    code.load_imm(R2, kReportAddress).load(R1, R2, 0, 4);
    code.load_imm(R3, to.value).store(R1, R3, 0, 8);
    return end(code, memory, index);
  }

  Result<VcpuState> copy(GuestMemory& memory, std::uint32_t index, Gpa from, Gpa to) override {
    Assembler code = begin(index);
    code.load_imm(R2, from.value).load_imm(R3, to.value).load(R1, R2, 0, 8).store(R1, R3, 0, 8);
    return end(code, memory, index);
  }

  Result<VcpuState> add_atomically(GuestMemory& memory, std::uint32_t index, Gpa counter,
                                   std::uint64_t times) override {
    Assembler code = begin(index);
    code.load_imm(R1, counter.value).load_imm(R2, 1).load_imm(R3, times);
    const Assembler::Label loop = code.here();
    code.fetch_add(R4, R1, R2).add_imm(R3, R3, -1).branch_not_equal(R3, R0, loop);
    return end(code, memory, index);
  }

  Result<VcpuState> count_forever(GuestMemory& memory, std::uint32_t index, Gpa counter) override {
    Assembler code = begin(index);
    code.load_imm(R1, counter.value);
    const Assembler::Label loop = code.here();
    code.load(R2, R1, 0, 8).add_imm(R2, R2, 1).store(R2, R1, 0, 8).jump(loop);
    return end(code, memory, index);
  }

  Result<VcpuState> compute(GuestMemory& memory, std::uint32_t index, Gpa to, std::uint64_t seed,
                            std::uint64_t rounds) override {
    Assembler code = begin(index);
    code.load_imm(R1, seed).load_imm(R2, rounds).load_imm(R3, to.value);
    code.load_imm(R4, 6364136223846793005U).load_imm(R5, 1442695040888963407U);
    const Assembler::Label loop = code.here();
    code.alu(Opcode::kMul, R1, R1, R4).alu(Opcode::kAdd, R1, R1, R5).store(R1, R3, 0, 8);
    code.add_imm(R2, R2, -1).branch_not_equal(R2, R0, loop);
    return end(code, memory, index);
  }

  Result<VcpuState> fail(GuestMemory& memory, std::uint32_t index) override {
    Assembler code = begin(index);
    code.append({Opcode::kIllegal});
    return end(code, memory, index);
  }
};

}  // namespace

std::unique_ptr<GuestKit> make_toy_kit() {
  return std::make_unique<ToyKit>();
}

}  // namespace stasis::conformance
