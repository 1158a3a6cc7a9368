// Guest RAM that is registered while the guest runs: no guest can tell.
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "core/ranges.h"
#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kWindow = 4 * kMib;  // Registered before map() returns.
constexpr std::uint64_t kBytes = 64 * kMib;  // Of RAM.
constexpr std::uint64_t kFlag = 3 * kMib;    // The guest is about to leave the window.
constexpr std::uint64_t kLate = 32 * kMib;   // Not registered when the guest comes.
constexpr std::uint64_t kLateTables = 48 * kMib;

#define RAISE_FLAG "movq $1, 0x300000\n"

STASIS_X86_CODE(store_late, RAISE_FLAG "mov %rax, 8(%rbx)\n movb $7, (%rbx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(load_late, RAISE_FLAG "mov (%rbx), %rcx\n movzwl 6(%rbx), %edx\n" STASIS_X86_HALT)
STASIS_X86_CODE(modify_late, RAISE_FLAG
                "lock addq $5, (%rbx)\n incq (%rbx)\n xadd %rax, (%rbx)\n"
                "xchg %rcx, 8(%rbx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(compare_exchange_late,
                RAISE_FLAG "lock cmpxchg %rcx, (%rbx)\n setz %dl\n" STASIS_X86_HALT)
STASIS_X86_CODE(push_late, RAISE_FLAG
                "mov %rbx, %rsp\n push %rax\n call 1f\n 1: pop %rcx\n pop %rdx\n" STASIS_X86_HALT)
STASIS_X86_CODE(copy_across, RAISE_FLAG "cld\n rep movsb\n" STASIS_X86_HALT)
STASIS_X86_CODE(fill_across, RAISE_FLAG "cld\n rep stosq\n" STASIS_X86_HALT)
STASIS_X86_CODE(string_in_late, RAISE_FLAG "cld\n mov $0x1f0, %edx\n rep insb\n" STASIS_X86_HALT)
STASIS_X86_CODE(string_out_late, RAISE_FLAG "cld\n mov $0x1f0, %edx\n rep outsb\n" STASIS_X86_HALT)
STASIS_X86_CODE(sse_late, RAISE_FLAG
                "movdqu 0x200000, %xmm0\n movdqu %xmm0, (%rbx)\n"
                "movdqu (%rbx), %xmm1\n movdqu %xmm1, 16(%rbx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(avx_store_late,
                RAISE_FLAG "vmovdqu 0x200000, %ymm0\n vmovdqu %ymm0, (%rbx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(avx512_load_late, RAISE_FLAG
                "vmovdqu64 (%rbx), %zmm20\n vmovdqu64 %zmm20, 0x200000\n" STASIS_X86_HALT)
STASIS_X86_CODE(fxsave_late, RAISE_FLAG "fxsave (%rbx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(jump_late, RAISE_FLAG "jmp *%rbx\n")
STASIS_X86_CODE(late_code,
                "mov $0x1122334455667788, %rcx\n lea 1f(%rip), %rdx\n 1:\n" STASIS_X86_HALT)
STASIS_X86_CODE(fault_late, RAISE_FLAG "hlt\n")
STASIS_X86_CODE(handler_loads_cr3, "mov %rax, %cr3\n mov %rcx, 0x200000\n 1: hlt\n jmp 1b\n")
STASIS_X86_CODE(halt, STASIS_X86_HALT)

// Holds the background thread until it is opened.
class Gate {
 public:
  void pass() { open_.wait(false); }
  void open() {
    open_.store(true);
    open_.notify_all();
  }

 private:
  std::atomic<bool> open_ = false;
};

// True when the thread sleeps in the kernel; a thread that executes guest code does not.
bool is_asleep(pid_t thread) {
  std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const std::size_t end_of_name = text.rfind(')');
  return end_of_name != std::string::npos && text.size() > end_of_name + 2 &&
         text[end_of_name + 2] == 'S';
}

std::uint64_t peek(GuestMemory& memory, Gpa gpa) {
  const std::span<std::byte> bytes = must(memory.writable_view({gpa, 8}));
  return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(bytes.data())).load();
}

enum class OpenWhen : std::uint8_t {
  kGuestWaits,  // The guest has raised the flag and its vCPU has gone to sleep.
  kVcpuWaits,   // The vCPU sleeps before it has let the guest run.
};

class DeferredSlotsTest : public KvmTest {
 protected:
  void SetUp() override {
    options_.slot_sizes = {.first_window_bytes = kWindow, .chunk_bytes = 16 * kMib};
    options_.before_deferred_slot = [this](GpaRange) { gate_.pass(); };
    KvmTest::SetUp();
    if (!IsSkipped() && !is_pvm()) {
      GTEST_SKIP() << "slots are cheap on this host, so none is deferred";
    }
  }

  void start_vm() {
    memory_ = make_memory({{Gpa{0}, kBytes}});
    vm_ = must(backend().create_vm({.vcpus = 1}));
    must(vm_->map(*memory_, Access::kReadWriteExecute));
  }
  ~DeferredSlotsTest() override { gate_.open(); }

  // Runs `start` on a new vCPU while registration is held back; lets it go on when `when` is
  // reached, so that the access came before the registration for certain. Returns the state at the
  // end. Reads of ports are answered 0x40, 0x41, ...; writes are collected.
  X86VcpuState run_late(const X86VcpuState& start, OpenWhen when = OpenWhen::kGuestWaits) {
    const auto vcpu_thread = static_cast<pid_t>(::syscall(SYS_gettid));
    std::atomic<bool> finished = false;
    bool opened_in_time = false;
    auto vcpu = make_vcpu(*vm_, start);
    std::thread opener([&] {
      while (!finished.load()) {
        const bool flag = peek(*memory_, Gpa{kFlag}) != 0;
        if ((flag || when == OpenWhen::kVcpuWaits) && is_asleep(vcpu_thread)) {
          EXPECT_EQ(flag, when == OpenWhen::kGuestWaits);
          opened_in_time = true;
          break;
        }
        std::this_thread::yield();
      }
      gate_.open();
    });
    for (;;) {
      const VcpuExit exit = must(vcpu->run());
      if (std::holds_alternative<ExitIoRead>(exit)) {
        must(vcpu->complete_read(0x40 + answers_++));
      } else if (const auto* write = std::get_if<ExitIoWrite>(&exit)) {
        written_.push_back(write->data);
      } else {
        expect_halted(exit);
        break;
      }
    }
    finished = true;
    opener.join();
    EXPECT_TRUE(opened_in_time) << "the guest finished without waiting: the test proves nothing";
    return save(*vcpu);
  }
  X86VcpuState at_late(std::span<const std::byte> code, std::uint64_t address = kLate) {
    X86VcpuState start = place(*memory_, code);
    start.general.rbx = address;
    return start;
  }
  template <typename T>
  T read(std::uint64_t address) {
    return must(memory_->read_object<T>(Gpa{address}));
  }
  void fill(std::uint64_t address, std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) {
      bytes[i] = static_cast<std::byte>(i * 7 + 3);
    }
    must(memory_->write(Gpa{address}, bytes));
  }
  std::vector<std::byte> bytes_at(std::uint64_t address, std::size_t count) {
    std::vector<std::byte> bytes(count);
    must(memory_->read(Gpa{address}, bytes));
    return bytes;
  }

  Gate gate_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Vm> vm_;
  std::uint64_t answers_ = 0;
  std::vector<std::uint64_t> written_;
};

TEST_F(DeferredSlotsTest, StoreBeforeRegistrationReachesMemory) {
  start_vm();
  X86VcpuState start = at_late(store_late());
  start.general.rax = 0x1122334455667788;
  run_late(start);
  EXPECT_EQ(read<std::uint64_t>(kLate + 8), 0x1122334455667788U);
  EXPECT_EQ(read<std::uint64_t>(kLate), 7U);
}

TEST_F(DeferredSlotsTest, StoreAcrossTheWindowsEndIsWhole) {
  start_vm();
  X86VcpuState start = at_late(store_late(), kWindow - 8 - 3);
  start.general.rax = 0x1122334455667788;
  run_late(start);
  EXPECT_EQ(read<std::uint64_t>(kWindow - 3), 0x1122334455667788U);
}

TEST_F(DeferredSlotsTest, LoadBeforeRegistrationReadsMemory) {
  start_vm();
  must(memory_->write_object(Gpa{kLate}, std::uint64_t{0x8877665544332211}));
  const X86VcpuState end = run_late(at_late(load_late()));
  EXPECT_EQ(end.general.rcx, 0x8877665544332211U);
  EXPECT_EQ(end.general.rdx, 0x8877U);
}

TEST_F(DeferredSlotsTest, LoadAcrossTheWindowsEndIsWhole) {
  start_vm();
  must(memory_->write_object(Gpa{kWindow - 5}, std::uint64_t{0x8877665544332211}));
  EXPECT_EQ(run_late(at_late(load_late(), kWindow - 5)).general.rcx, 0x8877665544332211U);
}

TEST_F(DeferredSlotsTest, ReadModifyWriteHappensOnce) {
  start_vm();
  must(memory_->write_object(Gpa{kLate}, std::uint64_t{100}));
  must(memory_->write_object(Gpa{kLate + 8}, std::uint64_t{0xaaaa}));
  X86VcpuState start = at_late(modify_late());
  start.general.rax = 1000;
  start.general.rcx = 0xbbbb;
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.general.rax, 106U);
  EXPECT_EQ(end.general.rcx, 0xaaaaU);
  EXPECT_EQ(read<std::uint64_t>(kLate), 1106U);
  EXPECT_EQ(read<std::uint64_t>(kLate + 8), 0xbbbbU);
}

TEST_F(DeferredSlotsTest, CompareExchangeComparesWithMemory) {
  start_vm();
  must(memory_->write_object(Gpa{kLate}, std::uint64_t{42}));
  X86VcpuState start = at_late(compare_exchange_late());
  start.general.rax = 42;
  start.general.rcx = 43;
  EXPECT_EQ(run_late(start).general.rdx & 0xffU, 1U);
  EXPECT_EQ(read<std::uint64_t>(kLate), 43U);
}

TEST_F(DeferredSlotsTest, FailedCompareExchangeLoadsTheOldValue) {
  start_vm();
  must(memory_->write_object(Gpa{kLate}, std::uint64_t{41}));
  X86VcpuState start = at_late(compare_exchange_late());
  start.general.rax = 42;
  start.general.rcx = 43;
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.general.rdx & 0xffU, 0U);
  EXPECT_EQ(end.general.rax, 41U);
  EXPECT_EQ(read<std::uint64_t>(kLate), 41U);
}

TEST_F(DeferredSlotsTest, StackBeforeRegistrationWorks) {
  start_vm();
  X86VcpuState start = at_late(push_late());
  start.general.rax = 0x5151;
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.general.rdx, 0x5151U);
  EXPECT_EQ(read<std::uint64_t>(0x81000 - 16), kLate) << "RSP, as the handler's stack has it";
}

TEST_F(DeferredSlotsTest, StringCopyCrossesFromTheWindow) {
  start_vm();
  fill(kWindow - 300, 600);
  X86VcpuState start = at_late(copy_across());
  start.general.rsi = kWindow - 300;
  start.general.rdi = kLate - 300;
  start.general.rcx = 600;
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.general.rcx, 0U);
  EXPECT_EQ(bytes_at(kLate - 300, 600), bytes_at(kWindow - 300, 600));
}

TEST_F(DeferredSlotsTest, StringFillCrossesTheWindowsEnd) {
  start_vm();
  X86VcpuState start = at_late(fill_across());
  start.general.rdi = kWindow - 4096 - 4;
  start.general.rcx = 1024;
  start.general.rax = 0x0102030405060708;
  run_late(start);
  for (std::uint64_t i = 0; i < 1024; ++i) {
    ASSERT_EQ(read<std::uint64_t>(kWindow - 4096 - 4 + i * 8), 0x0102030405060708U) << i;
  }
  EXPECT_EQ(read<std::uint32_t>(kWindow + 4096 - 4), 0U);
}

TEST_F(DeferredSlotsTest, StringInputStoresEveryAnswer) {
  start_vm();
  X86VcpuState start = at_late(string_in_late());
  start.general.rdi = kLate;
  start.general.rcx = 20;
  run_late(start);
  EXPECT_EQ(answers_, 20U);
  for (std::uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(read<std::uint8_t>(kLate + i), 0x40 + i);
  }
}

TEST_F(DeferredSlotsTest, StringOutputSendsWhatMemoryHolds) {
  start_vm();
  fill(kLate, 10);
  X86VcpuState start = at_late(string_out_late());
  start.general.rsi = kLate;
  start.general.rcx = 10;
  run_late(start);
  ASSERT_EQ(written_.size(), 10U);
  for (std::uint64_t i = 0; i < 10; ++i) {
    EXPECT_EQ(written_[i], i * 7 + 3);
  }
}

TEST_F(DeferredSlotsTest, SseStoreAndLoadAreWhole) {
  start_vm();
  fill(2 * kMib, 16);
  run_late(at_late(sse_late(), kWindow - 5));
  EXPECT_EQ(bytes_at(kWindow - 5 + 16, 16), bytes_at(2 * kMib, 16));
}

TEST_F(DeferredSlotsTest, AvxStoreThatKvmCannotEmulateIsExecutedAgain) {
  start_vm();
  fill(2 * kMib, 32);
  run_late(at_late(avx_store_late(), kWindow - 9));
  EXPECT_EQ(bytes_at(kWindow - 9, 32), bytes_at(2 * kMib, 32));
}

TEST_F(DeferredSlotsTest, Avx512LoadThatKvmCannotEmulateIsExecutedAgain) {
  start_vm();
  fill(kLate, 64);
  const auto& features = capabilities().cpu_features;
  if (!std::binary_search(features.begin(), features.end(), std::string("avx512f"))) {
    GTEST_SKIP() << "this processor has no AVX-512";
  }
  run_late(at_late(avx512_load_late()));
  EXPECT_EQ(bytes_at(2 * kMib, 64), bytes_at(kLate, 64));
}

TEST_F(DeferredSlotsTest, FxsaveBeforeRegistrationStoresItsImage) {
  start_vm();
  run_late(at_late(fxsave_late()));
  EXPECT_EQ(read<std::uint32_t>(kLate + 24), 0x1f80U) << "MXCSR of a new vCPU";
}

TEST_F(DeferredSlotsTest, InstructionsAreFetchedFromLateMemory) {
  start_vm();
  const X86VcpuState start = at_late(jump_late());
  must(memory_->write(Gpa{kLate}, late_code()));
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.general.rcx, 0x1122334455667788U);
  EXPECT_EQ(end.general.rdx, kLate + 17);
}

TEST_F(DeferredSlotsTest, InstructionThatCrossesTheWindowsEndIsFetchedWhole) {
  start_vm();
  const X86VcpuState start = at_late(jump_late(), kWindow - 5);
  must(memory_->write(Gpa{kWindow - 5}, late_code()));
  EXPECT_EQ(run_late(start).general.rcx, 0x1122334455667788U);
}

TEST_F(DeferredSlotsTest, PageTablesInLateMemoryAreWaitedFor) {
  start_vm();
  // A second set of tables: PML4 and PDPT late, the page directory as it was.
  must(memory_->write_object(Gpa{kLateTables}, (kLateTables + 4096) | 0x27));
  must(memory_->write_object(Gpa{kLateTables + 4096}, std::uint64_t{0x3000 | 0x27}));
  X86VcpuState start = at_late(halt());
  start.system.cr3 = kLateTables;
  run_late(start, OpenWhen::kVcpuWaits);
}

TEST_F(DeferredSlotsTest, LeafPageTableInLateMemoryIsWaitedFor) {
  start_vm();
  // 2 MiB .. 4 MiB through a table of 4 KiB pages that lies late.
  std::array<std::uint64_t, 512> table{};
  for (std::uint64_t i = 0; i < table.size(); ++i) {
    table[i] = (2 * kMib + i * 4096) | 0x67;
  }
  must(memory_->write(Gpa{kLateTables}, std::as_bytes(std::span(table))));
  must(memory_->write_object(Gpa{0x3000 + 8}, kLateTables | 0x27));
  run_late(at_late(halt()), OpenWhen::kVcpuWaits);
}

TEST_F(DeferredSlotsTest, DescriptorTablesInLateMemoryAreWaitedFor) {
  start_vm();
  std::vector<std::byte> idt = bytes_at(0x11000, 4096);
  must(memory_->write(Gpa{kLate}, idt));
  X86VcpuState start = at_late(halt());
  start.system.idt.base = kLate;
  run_late(start, OpenWhen::kVcpuWaits);
}

TEST_F(DeferredSlotsTest, RingZeroStackInLateMemoryIsWaitedFor) {
  start_vm();
  must(memory_->write_object(Gpa{0x20004}, kLate + 4096));
  run_late(at_late(halt()), OpenWhen::kVcpuWaits);
}

TEST_F(DeferredSlotsTest, ExceptionHandlerInLateMemoryIsReached) {
  start_vm();
  const X86VcpuState start = at_late(fault_late());
  // The #GP gate's offset: 16 low bits, then 16 and 32 high bits.
  must(memory_->write_object(Gpa{0x11000 + 13 * 16}, static_cast<std::uint16_t>(kLate & 0xffffU)));
  must(memory_->write_object(Gpa{0x11000 + 13 * 16 + 6}, static_cast<std::uint16_t>(kLate >> 16U)));
  constexpr std::array<std::uint8_t, 3> kHaltForever = {0xf4, 0xeb, 0xfd};
  must(memory_->write(Gpa{kLate}, std::as_bytes(std::span(kHaltForever))));
  run_late(start);
}

// Ring 0 switches to page tables that the entry gate could not know of.
TEST_F(DeferredSlotsTest, PageTablesThatTheGuestSwitchesToAreReached) {
  start_vm();
  must(memory_->write_object(Gpa{kLateTables}, (kLateTables + 4096) | 0x27));
  must(memory_->write_object(Gpa{kLateTables + 4096}, std::uint64_t{0x3000 | 0x27}));
  X86VcpuState start = at_late(fault_late());
  start.general.rax = kLateTables;
  start.general.rcx = 0x77;
  must(memory_->write(Gpa{0x12000}, handler_loads_cr3()));
  const X86VcpuState end = run_late(start);
  EXPECT_EQ(end.system.cr3, kLateTables);
  EXPECT_EQ(read<std::uint64_t>(2 * kMib), 0x77U);
}

TEST_F(DeferredSlotsTest, DirtyLogStartsOnlyWhenEverySlotIsThere) {
  start_vm();
  std::thread opener([this] { gate_.open(); });
  must(vm_->dirty_log()->start());
  opener.join();
  X86VcpuState start = at_late(store_late());
  auto vcpu = make_vcpu(*vm_, start);
  expect_halted(must(vcpu->run()));
  EXPECT_TRUE(contains(must(vm_->dirty_log()->collect()), Gpa{kLate}));
}

TEST_F(DeferredSlotsTest, SeveralVcpusEnterOnlyWhenEverySlotIsThere) {
  memory_ = make_memory({{Gpa{0}, kBytes}});
  vm_ = must(backend().create_vm({.vcpus = 2}));
  must(vm_->map(*memory_, Access::kReadWriteExecute));
  // That there are several counts, not that there might have been.
  const std::unique_ptr<Vcpu> second = must(vm_->create_vcpu(1));
  X86VcpuState start = at_late(store_late());
  run_late(start, OpenWhen::kVcpuWaits);
}

TEST_F(DeferredSlotsTest, VmCanBeDestroyedWhileSlotsAreRegistered) {
  gate_.open();
  for (int i = 0; i < 20; ++i) {
    start_vm();
    vm_.reset();
    memory_.reset();
  }
}

TEST_F(DeferredSlotsTest, RegionsAboveAHoleAreRegisteredToo) {
  memory_ = make_memory({{Gpa{0}, 8 * kMib}, {Gpa{64 * kMib}, 32 * kMib}});
  vm_ = must(backend().create_vm({.vcpus = 1}));
  must(vm_->map(*memory_, Access::kReadWriteExecute));
  X86VcpuState start = at_late(store_late(), 80 * kMib);
  start.general.rax = 99;
  run_late(start);
  EXPECT_EQ(read<std::uint64_t>(80 * kMib + 8), 99U);
}

}  // namespace
}  // namespace stasis::kvm
