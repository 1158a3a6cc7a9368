#include "tests/conformance/x86_kit.h"

#include <string>
#include <utility>

#include "tests/support/x86_ring3.h"

namespace stasis::conformance {
namespace {

constexpr std::uint16_t kReportPort = 0x1f0;
// The programs read their parameters from a table behind their code.
constexpr std::uint64_t kTableOffset = 0x1000;
constexpr std::uint64_t kTableBytesMax = x86_ring3::kCodeBytesMax - kTableOffset;
static_assert(x86_ring3::code_address(32).value <= kKitBytes);

#define STASIS_X86_END                                      \
  "mov $0xd0e, %eax\n mov $0x1f0, %edx\n out %eax, (%dx)\n" \
  "99: hlt\n jmp 99b\n"

STASIS_X86_CODE(finish_code, STASIS_X86_END)
// RSI: values of 4 bytes, RCX of them.
STASIS_X86_CODE(report_code,
                "cld\n mov $0x1f0, %edx\n"
                "1: test %rcx, %rcx\n jz 2f\n lodsl\n out %eax, (%dx)\n dec %rcx\n jmp 1b\n"
                "2:\n" STASIS_X86_END)
// RSI: address, width and value of 8 bytes each, RCX times.
STASIS_X86_CODE(store_code,
                "1: test %rcx, %rcx\n jz 9f\n"
                "mov (%rsi), %rdi\n mov 8(%rsi), %rdx\n mov 16(%rsi), %rax\n"
                "cmp $1, %rdx\n jne 2f\n mov %al, (%rdi)\n jmp 8f\n"
                "2: cmp $2, %rdx\n jne 3f\n mov %ax, (%rdi)\n jmp 8f\n"
                "3: cmp $4, %rdx\n jne 4f\n mov %eax, (%rdi)\n jmp 8f\n"
                "4: mov %rax, (%rdi)\n"
                "8: add $24, %rsi\n dec %rcx\n jmp 1b\n"
                "9:\n" STASIS_X86_END)
STASIS_X86_CODE(read_device_code,
                "mov $0x1f0, %edx\n in (%dx), %eax\n mov %rax, (%rbx)\n" STASIS_X86_END)
STASIS_X86_CODE(copy_code, "mov (%rsi), %rax\n mov %rax, (%rdi)\n" STASIS_X86_END)
STASIS_X86_CODE(add_code,
                "1: test %rcx, %rcx\n jz 2f\n lock incq (%rbx)\n dec %rcx\n jmp 1b\n"
                "2:\n" STASIS_X86_END)
STASIS_X86_CODE(count_code, "1: lock incq (%rbx)\n jmp 1b\n")
// RAX: x, R8 and R9: factor and summand, RCX: rounds.
STASIS_X86_CODE(compute_code,
                "1: test %rcx, %rcx\n jz 2f\n imul %r8, %rax\n add %r9, %rax\n mov %rax, (%rbx)\n"
                "dec %rcx\n jmp 1b\n"
                "2:\n" STASIS_X86_END)
STASIS_X86_CODE(fail_code, "ud2\n")

class X86Kit final : public GuestKit {
 public:
  [[nodiscard]] IoAccess report() const override { return {IoSpace::kPort, kReportPort, 4}; }

  Result<VcpuState> finish(GuestMemory& memory, std::uint32_t index) override {
    return place(memory, index, finish_code(), {});
  }
  Result<VcpuState> report_values(GuestMemory& memory, std::uint32_t index,
                                  std::span<const std::uint32_t> values) override {
    STASIS_TRY(write_table(memory, index, std::as_bytes(values)));
    return place(memory, index, report_code(),
                 {.rcx = values.size(), .rsi = table_address(index).value});
  }
  Result<VcpuState> store(GuestMemory& memory, std::uint32_t index,
                          std::span<const Store> stores) override {
    std::vector<std::uint64_t> table;
    for (const Store& store : stores) {
      table.insert(table.end(), {store.to.value, store.width_bytes, store.value});
    }
    STASIS_TRY(write_table(memory, index, std::as_bytes(std::span(table))));
    return place(memory, index, store_code(),
                 {.rcx = stores.size(), .rsi = table_address(index).value});
  }
  Result<VcpuState> read_device(GuestMemory& memory, std::uint32_t index, Gpa to) override {
    return place(memory, index, read_device_code(), {.rbx = to.value});
  }
  Result<VcpuState> copy(GuestMemory& memory, std::uint32_t index, Gpa from, Gpa to) override {
    return place(memory, index, copy_code(), {.rsi = from.value, .rdi = to.value});
  }
  Result<VcpuState> add_atomically(GuestMemory& memory, std::uint32_t index, Gpa counter,
                                   std::uint64_t times) override {
    return place(memory, index, add_code(), {.rbx = counter.value, .rcx = times});
  }
  Result<VcpuState> count_forever(GuestMemory& memory, std::uint32_t index, Gpa counter) override {
    return place(memory, index, count_code(), {.rbx = counter.value});
  }
  Result<VcpuState> compute(GuestMemory& memory, std::uint32_t index, Gpa to, std::uint64_t seed,
                            std::uint64_t rounds) override {
    return place(memory, index, compute_code(),
                 {.rax = seed,
                  .rbx = to.value,
                  .rcx = rounds,
                  .r8 = 6364136223846793005U,
                  .r9 = 1442695040888963407U});
  }
  Result<VcpuState> fail(GuestMemory& memory, std::uint32_t index) override {
    return place(memory, index, fail_code(), {});
  }

 private:
  static Gpa table_address(std::uint32_t index) {
    return x86_ring3::code_address(index) + kTableOffset;
  }
  static Result<void> write_table(GuestMemory& memory, std::uint32_t index,
                                  std::span<const std::byte> bytes) {
    if (bytes.size() > kTableBytesMax) {
      return Error{Errc::kInvalidArgument, 0, "the program's table is larger than its place"};
    }
    return memory.write(table_address(index), bytes);
  }
  // `registers` as given; RIP and RSP are the environment's.
  static Result<VcpuState> place(GuestMemory& memory, std::uint32_t index,
                                 std::span<const std::byte> code, X86GeneralRegisters registers) {
    STASIS_TRY(x86_ring3::write_environment(memory, kKitBytes + kDataBytes));
    STASIS_TRY(x86_ring3::write_code(memory, index, code));
    X86VcpuState state =
        x86_ring3::start_state(index, x86_ring3::code_address(index), Capabilities{});
    registers.rip = state.general.rip;
    registers.rsp = state.general.rsp;
    state.general = registers;
    return VcpuState(std::move(state));
  }
};

}  // namespace

std::unique_ptr<GuestKit> make_x86_kit() {
  return std::make_unique<X86Kit>();
}

}  // namespace stasis::conformance
