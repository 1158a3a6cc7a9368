#include "experiments/floor/bare_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/text.h"
#include "core/unique_fd.h"
#include "experiments/floor/long_mode.h"
#include "kvm/dirty_ring.h"
#include "kvm/kvm_fd.h"
#include "kvm/ring_mapping.h"
#include "kvm/run_mapping.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20U;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

// Guest-physical layout of the guest's own first 2 MiB; all RAM is mapped one to one with pages of
// 2 MiB, and one more of them behind it: a store there leaves the guest.
constexpr std::uint64_t kPml4 = 0x1000;
constexpr std::uint64_t kPdpt = 0x2000;
constexpr std::uint64_t kCode = 0x4000;
constexpr std::uint64_t kCycles = 0x5000;        // Where the guest stores what it has measured.
constexpr std::uint64_t kDirectories = 0x10000;  // One a GiB.
constexpr std::uint64_t kAddresses = 0x100000;   // The list of what to write to.
constexpr std::uint64_t kDirectoriesMax = 16;
static_assert(kAddresses + BareWriter::kPagesMax * 8 <= kHugePage);
static_assert(BareWriter::kFirstPage * kPage == kHugePage);

// rdi: the list, rcx: its length, r9: kCycles, r10: an address without memory.
//   rdtsc; shl rdx, 32; or rax, rdx; mov r8, rax
//   next: mov rax, [rdi]; add qword [rax], 1; add rdi, 8; dec rcx; jnz next
//   rdtsc; shl rdx, 32; or rax, rdx; sub rax, r8; mov [r9], rax; mov [r10], al
constexpr std::array<std::uint8_t, 46> kProgram = {
    0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0x49, 0x89, 0xC0, 0x48, 0x8B, 0x07, 0x48,
    0x83, 0x00, 0x01, 0x48, 0x83, 0xC7, 0x08, 0x48, 0xFF, 0xC9, 0x75, 0xF0, 0x0F, 0x31, 0x48, 0xC1,
    0xE2, 0x20, 0x48, 0x09, 0xD0, 0x4C, 0x29, 0xC0, 0x49, 0x89, 0x01, 0x41, 0x88, 0x02};

constexpr std::size_t kRingEntries = 65536;

void store(std::span<std::byte> memory, std::uint64_t offset, std::uint64_t value) {
  std::memcpy(&memory[offset], &value, sizeof(value));
}

void load_program(std::span<std::byte> memory) {
  constexpr std::uint64_t kTable = 7;         // Present, writable, user.
  constexpr std::uint64_t kLeaf = 7 | 0x80U;  // The same, and a 2 MiB page.
  store(memory, kPml4, kPdpt | kTable);
  const std::uint64_t mapped = memory.size() + kHugePage;
  for (std::uint64_t gib = 0; gib * kGiB < mapped; ++gib) {
    store(memory, kPdpt + gib * 8, (kDirectories + gib * kPage) | kTable);
  }
  for (std::uint64_t at = 0; at < mapped; at += kHugePage) {
    store(memory, kDirectories + at / kHugePage * 8, at | kLeaf);
  }
  std::memcpy(&memory[kCode], kProgram.data(), kProgram.size());
}

class KvmWriter final : public BareWriter {
 public:
  // `vm` is one of KVM's VMs without memory.
  KvmWriter(std::span<std::byte> memory, KernelLog log, UniqueFd device, kvm::KvmFd vm)
      : memory_(memory), log_(log), device_(std::move(device)), vm_(std::move(vm)) {}

  Result<void> begin(std::size_t run_bytes) {
    if (log_ == KernelLog::kRing) {  // Only before the first vCPU: api.rst, 8.29.
      STASIS_TRY(enable(KVM_CAP_DIRTY_LOG_RING, kRingEntries * sizeof(kvm_dirty_gfn)));
    }
    if (log_ == KernelLog::kManual) {
      STASIS_TRY(enable(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE));
    }
    load_program(memory_);
    STASIS_TRY(set_slot(0));
    STASIS_ASSIGN(const int vcpu, vm_.call(kvm::kCreateVcpu, 0));
    vcpu_.emplace(UniqueFd(vcpu));
    STASIS_ASSIGN(kvm::RunMapping run, kvm::RunMapping::create(*vcpu_, run_bytes));
    run_.emplace(std::move(run));
    if (log_ == KernelLog::kRing) {
      STASIS_ASSIGN(kvm::RingMapping ring,
                    kvm::RingMapping::create(*vcpu_, kRingEntries * sizeof(kvm_dirty_gfn)));
      ring_memory_.emplace(std::move(ring));
      ring_.emplace(ring_memory_->entries());
    }
    kvm_sregs sregs{};
    STASIS_TRY(vcpu_->apply(kvm::kGetSregs, &sregs));
    set_long_mode(sregs, kPml4);
    return vcpu_->apply(kvm::kSetSregs, &sregs);
  }

  Result<std::uint64_t> write(std::span<const std::uint64_t> pages) override {
    const std::uint64_t page_count = memory_.size() / kPage;
    if (pages.empty() || pages.size() > kPagesMax ||
        std::any_of(pages.begin(), pages.end(),
                    [&](std::uint64_t page) { return page < kFirstPage || page >= page_count; })) {
      return Error{.code = Errc::kInvalidArgument,
                   .message = "bare KVM writer: not 1 to 65536 pages of its memory"};
    }
    for (std::size_t i = 0; i < pages.size(); ++i) {
      store(memory_, kAddresses + i * 8, pages[i] * kPage);
    }
    kvm_regs regs{};
    regs.rip = kCode;
    regs.rflags = 2;  // The bit that is always set.
    regs.rdi = kAddresses;
    regs.rcx = pages.size();
    regs.r9 = kCycles;
    regs.r10 = memory_.size();
    STASIS_TRY(vcpu_->apply(kvm::kSetRegs, &regs));
    STASIS_TRY(run());
    std::uint64_t cycles = 0;
    std::memcpy(&cycles, &memory_[kCycles], sizeof(cycles));
    return cycles;
  }

  Result<void> start_log() override {
    if (log_ == KernelLog::kNone) {
      return Error{.code = Errc::kInvalidArgument,
                   .message = "bare KVM writer: made without a log"};
    }
    STASIS_TRY(set_slot(KVM_MEM_LOG_DIRTY_PAGES));
    if (log_ == KernelLog::kRing) {  // What was logged before does not count.
      STASIS_TRY(collect_ring());
      ring_pages_ = 0;
    }
    return {};
  }

  Result<std::uint64_t> collect_log() override {
    if (log_ == KernelLog::kRing) {
      STASIS_TRY(collect_ring());
      return std::exchange(ring_pages_, 0);
    }
    bitmap_.assign(memory_.size() / kPage / 64, 0);
    kvm_dirty_log request{};
    request.dirty_bitmap = bitmap_.data();
    STASIS_TRY(vm_.apply(kvm::kGetDirtyLog, &request));
    if (log_ == KernelLog::kManual) {
      kvm_clear_dirty_log clear{};
      clear.num_pages = static_cast<std::uint32_t>(memory_.size() / kPage);
      clear.dirty_bitmap = bitmap_.data();
      STASIS_TRY(vm_.apply(kvm::kClearDirtyLog, &clear));
    }
    std::uint64_t pages = 0;
    for (const std::uint64_t word : bitmap_) {
      pages += static_cast<std::uint64_t>(std::popcount(word));
    }
    return pages;
  }

 private:
  Result<void> enable(std::uint32_t capability, std::uint64_t argument) {
    kvm_enable_cap request{};
    request.cap = capability;
    request.args[0] = argument;
    return vm_.apply(kvm::kEnableCap, &request);
  }

  Result<void> set_slot(std::uint32_t flags) {
    kvm_userspace_memory_region region{};
    region.flags = flags;
    region.memory_size = memory_.size();
    std::memcpy(&region.userspace_addr, std::array{memory_.data()}.data(), sizeof(std::byte*));
    return vm_.apply(kvm::kSetUserMemoryRegion, &region);
  }

  // Until the guest's store without memory.
  Result<void> run() {
    while (true) {
      const int answer = vcpu_->attempt(kvm::kRun, 0);
      if (answer == -EINTR) {
        continue;
      }
      if (answer < 0) {
        return errno_error(-answer, "bare KVM writer: KVM_RUN");
      }
      const std::uint32_t reason = run_->get()->exit_reason;
      if (reason == KVM_EXIT_MMIO) {
        return {};
      }
      if (reason != KVM_EXIT_DIRTY_RING_FULL || !ring_) {
        return Error{.code = Errc::kBackend,
                     .message = "bare KVM writer: the guest left with exit reason " +
                                std::to_string(reason)};
      }
      STASIS_TRY(collect_ring());
    }
  }

  Result<void> collect_ring() {
    std::uint64_t taken = 0;
    ring_->harvest([&taken](kvm::RingPage) { ++taken; });
    ring_pages_ += taken;
    if (taken > 0) {
      STASIS_TRY(vm_.call(kvm::kResetDirtyRings, 0));
    }
    return {};
  }

  std::span<std::byte> memory_;
  KernelLog log_;
  UniqueFd device_;
  kvm::KvmFd vm_;
  std::optional<kvm::KvmFd> vcpu_;
  std::optional<kvm::RunMapping> run_;
  std::optional<kvm::RingMapping> ring_memory_;
  std::optional<kvm::DirtyRing> ring_;
  std::vector<std::uint64_t> bitmap_;
  std::uint64_t ring_pages_ = 0;
};

}  // namespace

Result<std::unique_ptr<BareWriter>> BareWriter::create(std::span<std::byte> memory, KernelLog log) {
  if (memory.size() < 2 * kHugePage || memory.size() % kHugePage != 0 ||
      memory.size() + kHugePage > kDirectoriesMax * kGiB) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "bare KVM writer: memory of " + describe_bytes(memory.size()) +
                            " is not a multiple of 2 MiB from 4 MiB to 16 GiB"};
  }
  UniqueFd device(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!device.is_open()) {
    Error error = errno_error(errno, "bare KVM writer: open /dev/kvm");
    error.code = Errc::kNotSupported;
    return error;
  }
  const int run_bytes = ::ioctl(device.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  UniqueFd vm(::ioctl(device.get(), KVM_CREATE_VM, 0));
  if (run_bytes < static_cast<int>(sizeof(kvm_run)) || !vm.is_open()) {
    return Error{.code = Errc::kBackend, .message = "bare KVM writer: KVM makes no VM"};
  }
  auto writer =
      std::make_unique<KvmWriter>(memory, log, std::move(device), kvm::KvmFd(std::move(vm)));
  STASIS_TRY(writer->begin(static_cast<std::size_t>(run_bytes)));
  return std::unique_ptr<BareWriter>(std::move(writer));
}

}  // namespace stasis::experiments
