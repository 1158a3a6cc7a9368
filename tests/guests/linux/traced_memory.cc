#include "tests/guests/linux/traced_memory.h"

#include <elf.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/check.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kScratch = 0x2000'0000'0000;

int bits_of(Protection protection) {
  return (has(protection, Protection::kRead) ? PROT_READ : 0) |
         (has(protection, Protection::kWrite) ? PROT_WRITE : 0) |
         (has(protection, Protection::kExecute) ? PROT_EXEC : 0);
}

// In pieces of a page: a transfer is all or nothing for each (process_vm_readv(2)).
template <typename Transfer>
std::size_t by_pages(std::uint64_t at, std::size_t size, const Transfer& transfer) {
  std::size_t done = 0;
  while (done < size && at + done < kUserSpaceEnd) {
    const std::size_t piece =
        std::min<std::size_t>(size - done, kPageBytes - ((at + done) % kPageBytes));
    if (!transfer(at + done, done, piece)) {
      break;
    }
    done += piece;
  }
  return done;
}

}  // namespace

TracedMemory::TracedMemory(pid_t pid, UserAddress code) : pid_(pid), syscall_at_(code) {
  // A page of our own for the instruction; the bytes that it stood in for are put back.
  errno = 0;
  const long before = ::ptrace(PTRACE_PEEKTEXT, pid, code.value, nullptr);
  STASIS_CHECK(errno == 0);
  STASIS_CHECK(::ptrace(PTRACE_POKETEXT, pid, code.value, 0xcc050fL) == 0);
  const SysResult page =
      inject(SYS_mmap, {kScratch, kPageBytes, PROT_READ | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~std::uint64_t{0}, 0});
  STASIS_CHECK(::ptrace(PTRACE_POKETEXT, pid, code.value, before) == 0);
  STASIS_CHECK(page == static_cast<SysResult>(kScratch));
  STASIS_CHECK(::ptrace(PTRACE_POKETEXT, pid, kScratch, 0xcc050fL) == 0);
  syscall_at_ = UserAddress{kScratch};
}

SysResult TracedMemory::inject(long number, const std::array<std::uint64_t, 6>& arguments) {
  user_regs_struct saved{};
  STASIS_CHECK(::ptrace(PTRACE_GETREGS, pid_, nullptr, &saved) == 0);
  user_regs_struct regs = saved;
  regs.rax = static_cast<unsigned long long>(number);
  regs.orig_rax = ~0ULL;
  regs.rip = syscall_at_.value;
  regs.rdi = arguments[0];
  regs.rsi = arguments[1];
  regs.rdx = arguments[2];
  regs.r10 = arguments[3];
  regs.r8 = arguments[4];
  regs.r9 = arguments[5];
  STASIS_CHECK(::ptrace(PTRACE_SETREGS, pid_, nullptr, &regs) == 0);
  // Out of a stop by PTRACE_SYSEMU the first step only ends that call.
  for (int steps = 0; regs.rip == syscall_at_.value && steps < 3; ++steps) {
    int status = 0;
    STASIS_CHECK(::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0);
    STASIS_CHECK(::waitpid(pid_, &status, 0) == pid_ && WIFSTOPPED(status));
    STASIS_CHECK(::ptrace(PTRACE_GETREGS, pid_, nullptr, &regs) == 0);
  }
  STASIS_CHECK(::ptrace(PTRACE_SETREGS, pid_, nullptr, &saved) == 0);
  return static_cast<SysResult>(regs.rax);
}

std::size_t TracedMemory::read(UserAddress from, std::span<std::byte> out) {
  return by_pages(
      from.value, out.size(), [&](std::uint64_t at, std::size_t done, std::size_t size) {
        const iovec local{&out[done], size};
        const iovec remote{reinterpret_cast<void*>(at), size};
        return ::process_vm_readv(pid_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
      });
}

std::size_t TracedMemory::write(UserAddress to, std::span<const std::byte> bytes) {
  return by_pages(
      to.value, bytes.size(), [&](std::uint64_t at, std::size_t done, std::size_t size) {
        const iovec local{const_cast<std::byte*>(&bytes[done]), size};
        const iovec remote{reinterpret_cast<void*>(at), size};
        return ::process_vm_writev(pid_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
      });
}

SysResult TracedMemory::map(const MapRequest& request) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  flags |= request.placement == MapRequest::Placement::kFixed            ? MAP_FIXED
           : request.placement == MapRequest::Placement::kFixedNoReplace ? MAP_FIXED_NOREPLACE
                                                                         : 0;
  const int wanted = bits_of(request.protection);
  const int first = request.file != nullptr ? PROT_READ | PROT_WRITE : wanted;
  const SysResult at =
      inject(SYS_mmap, {request.hint.value, request.size_bytes, static_cast<std::uint64_t>(first),
                        static_cast<std::uint64_t>(flags), ~std::uint64_t{0}, 0});
  if (at < 0 && at > -4096) {
    return at;
  }
  const UserAddress begin{static_cast<std::uint64_t>(at)};
  if (request.file != nullptr) {
    std::vector<std::byte> content(request.size_bytes);
    const SysResult got = request.file->read_at(request.file_offset, content);
    content.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    STASIS_CHECK(write(begin, content) == content.size());
    inject(SYS_mprotect,
           {begin.value, request.size_bytes, static_cast<std::uint64_t>(wanted), 0, 0, 0});
    files_[begin.value] = request.file;
  }
  return at;
}

SysResult TracedMemory::unmap(UserAddress begin, std::uint64_t size_bytes) {
  return inject(SYS_munmap, {begin.value, size_bytes, 0, 0, 0, 0});
}
SysResult TracedMemory::protect(UserAddress begin, std::uint64_t size_bytes,
                                Protection protection) {
  return inject(SYS_mprotect, {begin.value, size_bytes,
                               static_cast<std::uint64_t>(bits_of(protection)), 0, 0, 0});
}
SysResult TracedMemory::remap(UserAddress old_begin, std::uint64_t old_size, std::uint64_t new_size,
                              std::uint64_t flags, UserAddress new_begin) {
  return inject(SYS_mremap, {old_begin.value, old_size, new_size, flags, new_begin.value, 0});
}
SysResult TracedMemory::advise(UserAddress begin, std::uint64_t size_bytes, int advice) {
  return inject(SYS_madvise,
                {begin.value, size_bytes, static_cast<std::uint64_t>(advice), 0, 0, 0});
}
SysResult TracedMemory::set_break(UserAddress end) {
  return inject(SYS_brk, {end.value, 0, 0, 0, 0, 0});
}

std::vector<Mapping> TracedMemory::mappings() const {
  std::ifstream maps("/proc/" + std::to_string(pid_) + "/maps");
  std::vector<Mapping> all;
  for (std::string line; std::getline(maps, line);) {
    unsigned long long begin = 0;
    unsigned long long end = 0;
    std::array<char, 5> bits{};
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, bits.data()) != 3 ||
        begin >= kUserSpaceEnd || begin == kScratch) {
      continue;
    }
    Mapping mapping;
    mapping.begin = UserAddress{begin};
    mapping.size_bytes = end - begin;
    mapping.protection = (bits[0] == 'r' ? Protection::kRead : Protection::kNone) |
                         (bits[1] == 'w' ? Protection::kWrite : Protection::kNone) |
                         (bits[2] == 'x' ? Protection::kExecute : Protection::kNone);
    const std::size_t name = line.find_first_of("/[");
    mapping.name = name == std::string::npos ? "" : line.substr(name);
    const auto file = files_.find(begin);
    if (mapping.name.empty() && file != files_.end()) {
      mapping.name = file->second->path();
    }
    all.push_back(std::move(mapping));
  }
  return all;
}

}  // namespace stasis::linux_guest
