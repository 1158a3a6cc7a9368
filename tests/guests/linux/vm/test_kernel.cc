#include "tests/guests/linux/vm/test_kernel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "guests/linux/vm/byte_codec.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kWaitRequest = 5000, kRespond = 5001, kSeven = 5002;
constexpr std::uint64_t kResumeMagic = 0x7e57;
constexpr std::uint64_t kBytesMax = 1U << 20U;

Protection protection_of(std::uint64_t prot) {
  return static_cast<Protection>(prot & 7U);
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

std::string TestKernel::text(std::uint64_t address) {
  std::string out;
  std::byte byte{};
  while (out.size() < 4096 && memory_.read({address++}, std::span(&byte, 1)) == 1 &&
         byte != std::byte{0}) {
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

std::int64_t TestKernel::output(const X86GeneralRegisters& r) {
  std::vector<std::byte> bytes(std::min(r.rdx, kBytesMax));
  const std::size_t got = memory_.read({r.rsi}, bytes);
  if (got < bytes.size()) {
    return -EFAULT;
  }
  config_.output(static_cast<int>(r.rdi),
                 {reinterpret_cast<const char*>(bytes.data()), bytes.size()});  // NOLINT
  return static_cast<std::int64_t>(bytes.size());
}

std::int64_t TestKernel::memory_call(std::uint64_t number, const X86GeneralRegisters& r) {
  switch (number) {
    case SYS_brk:
      return memory_.set_break({r.rdi});
    case SYS_mmap: {
      MapRequest request{.hint = {r.rdi}, .size_bytes = r.rsi, .protection = protection_of(r.rdx)};
      if ((r.r10 & MAP_FIXED) != 0) {
        request.placement = MapRequest::Placement::kFixed;
      }
      if ((r.r10 & MAP_ANONYMOUS) == 0) {
        const auto found = files_.find(static_cast<int>(r.r8));
        if (found == files_.end()) {
          return -EBADF;
        }
        request.file = found->second.file;
        request.file_offset = r.r9;
      }
      return memory_.map(request);
    }
    case SYS_munmap:
      return memory_.unmap({r.rdi}, r.rsi);
    case SYS_mprotect:
      return memory_.protect({r.rdi}, r.rsi, protection_of(r.rdx));
    case SYS_mremap:
      return memory_.remap({r.rdi}, r.rsi, r.rdx, r.r10, {r.r8});
    case SYS_madvise:
      return memory_.advise({r.rdi}, r.rsi, static_cast<int>(r.rdx));
    default:
      return -ENOSYS;
  }
}

std::int64_t TestKernel::file_call(std::uint64_t number, const X86GeneralRegisters& r) {
  if (number == SYS_openat) {
    auto file = ProgramFile::open(text(r.rsi), opened_.size());
    if (!file) {
      return -ENOENT;
    }
    opened_.push_back(*file);
    const int descriptor = 3 + static_cast<int>(opened_.size());
    files_[descriptor] = {*std::move(file), 0};
    return descriptor;
  }
  const auto found = files_.find(static_cast<int>(r.rdi));
  if (found == files_.end()) {
    return -EBADF;
  }
  OpenFile& open = found->second;
  switch (number) {
    case SYS_close:
      files_.erase(found);
      return 0;
    case SYS_read:
    case SYS_pread64: {
      std::vector<std::byte> bytes(std::min(r.rdx, kBytesMax));
      const std::uint64_t offset = number == SYS_read ? open.offset : r.r10;
      const std::int64_t got = open.file->read_at(offset, bytes);
      if (got > 0) {
        bytes.resize(static_cast<std::size_t>(got));
        open.offset += number == SYS_read ? bytes.size() : 0;
        return memory_.write({r.rsi}, bytes) == bytes.size() ? got : -EFAULT;
      }
      return got;
    }
    case SYS_newfstatat:  // Of an open file: AT_EMPTY_PATH.
    case SYS_fstat: {
      struct stat status {};
      status.st_mode = S_IFREG | 0755;
      status.st_size = static_cast<off_t>(open.file->size_bytes());
      status.st_ino = open.file->snapshot_id() + 1;  // The dynamic linker tells libraries apart.
      return memory_.write({number == SYS_fstat ? r.rsi : r.rdx}, bytes_of(status)) ==
                     sizeof(status)
                 ? 0
                 : -EFAULT;
    }
    default:
      return -ENOSYS;
  }
}

AfterTrap TestKernel::syscall(TrapCpu& cpu) {
  X86GeneralRegisters& r = cpu.general();
  const std::uint64_t number = r.rax;
  std::int64_t result = -ENOSYS;
  switch (number) {
    case SYS_write:
      result = output(r);
      break;
    case SYS_exit:
    case SYS_exit_group:
      exit_.code = static_cast<int>(r.rdi);
      return AfterTrap::kExited;
    case SYS_arch_prctl:
      if (r.rdi == 0x1002) {  // ARCH_SET_FS
        cpu.set_fs_base(r.rsi);
        result = 0;
      }
      break;
    case SYS_set_tid_address:
      result = 1;
      break;
    case SYS_set_robust_list:
      result = 0;
      break;
    case SYS_getpid:
      result = 1;
      break;
    case SYS_nanosleep: {
      std::int64_t time[2] = {};
      static_cast<void>(memory_.read({r.rdi}, std::as_writable_bytes(std::span(time))));
      deadline_ = config_.clock->now() + time[0] * 1'000'000'000 + time[1];
      return AfterTrap::kWait;
    }
    case kSeven:
      result = 7;
      break;
    case kWaitRequest:
      wants_request_ = true;
      return wake(cpu);
    case kRespond: {
      std::vector<std::byte> bytes(std::min(r.rsi, kBytesMax));
      bytes.resize(memory_.read({r.rdi}, bytes));
      response_ = std::move(bytes);
      result = 0;
      break;
    }
    default:
      result = number == SYS_openat || number == SYS_read || number == SYS_close ||
                       number == SYS_fstat || number == SYS_pread64 || number == SYS_newfstatat
                   ? file_call(number, r)
                   : memory_call(number, r);
  }
  r.rax = static_cast<std::uint64_t>(result);
  return AfterTrap::kContinue;
}

AfterTrap TestKernel::wake(TrapCpu& cpu) {
  X86GeneralRegisters& r = cpu.general();
  if (deadline_) {
    if (config_.clock->now() < *deadline_) {
      return AfterTrap::kWait;
    }
    deadline_.reset();
    r.rax = 0;
    return AfterTrap::kContinue;
  }
  if (!request_) {
    return AfterTrap::kWait;
  }
  wants_request_ = false;
  const std::size_t size = std::min<std::size_t>(r.rsi, request_->size());
  r.rax = memory_.write({r.rdi}, std::span(*request_).first(size));
  request_.reset();
  return AfterTrap::kContinue;
}

AfterTrap TestKernel::fault(TrapCpu& cpu, const Fault& fault) {
  X86GeneralRegisters& r = cpu.general();
  if (r.r14 != kResumeMagic) {
    exit_ = {.signal = 11,
             .report = "vector " + std::to_string(fault.vector) + " at " + std::to_string(r.rip)};
    return AfterTrap::kExited;
  }
  r.rip = r.r12;
  r.rsp = r.r13;
  r.rax = 0x10000 | (std::uint64_t{fault.vector} << 8U) | fault.error_code;
  return AfterTrap::kContinue;
}

Result<void> TestKernel::post_request(std::span<const std::byte> request) {
  request_.emplace(request.begin(), request.end());
  return {};
}

Result<std::vector<std::byte>> TestKernel::save() const {
  ByteWriter out;
  out.u8(wants_request_ ? 1 : 0);
  out.u8(deadline_ ? 1 : 0);
  out.u64(static_cast<std::uint64_t>(deadline_.value_or(0)));
  out.u64(opened_.size());
  for (const auto& file : opened_) {
    out.text(file->path());
  }
  return std::move(out).take();
}

Result<void> TestKernel::load(std::span<const std::byte> state, StaleFiles) {
  ByteReader in(state);
  wants_request_ = in.u8() != 0;
  const bool has_deadline = in.u8() != 0;
  const auto deadline = static_cast<MonotonicNs>(in.u64());
  deadline_ = has_deadline ? std::optional<MonotonicNs>(deadline) : std::nullopt;
  for (std::uint64_t i = in.count(8); i > 0; --i) {
    STASIS_ASSIGN(auto file, ProgramFile::open(in.text(), opened_.size()));
    opened_.push_back(std::move(file));
  }
  return {};
}

std::shared_ptr<const MappedFile> TestKernel::mapped_file(std::uint64_t id) const {
  return id < opened_.size() ? opened_[id] : nullptr;
}

Result<std::unique_ptr<Kernel>> make_test_kernel(KernelConfig config, AddressSpace& memory) {
  return std::unique_ptr<Kernel>(std::make_unique<TestKernel>(std::move(config), memory));
}

}  // namespace stasis::linux_guest::vm
