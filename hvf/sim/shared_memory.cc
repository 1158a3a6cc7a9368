#include "hvf/sim/shared_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "core/address.h"
#include "core/text.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::uint64_t kCopyBytes = 4096;

Error refused(std::string what) {
  return Error{Errc::kIo, errno, std::move(what) + " for the simulated machine's memory"};
}

bool is_zero(const std::byte* bytes) {
  static constexpr std::array<std::byte, kCopyBytes> kZero = {};
  return std::memcmp(bytes, kZero.data(), kCopyBytes) == 0;
}

// Zero pages stay holes of the file.
void copy_used_pages(const std::byte* from, std::byte* to, std::uint64_t size) {
  for (std::uint64_t at = 0; at < size; at += kCopyBytes) {
    if (!is_zero(from + at)) {
      std::memcpy(to + at, from + at, kCopyBytes);
    }
  }
}

}  // namespace

Result<std::unique_ptr<SharedMemory>> SharedMemory::create() {
  UniqueFd file(::memfd_create("stasis-hvf-sim", MFD_CLOEXEC));
  if (!file.is_open()) {
    return refused("memfd_create()");
  }
  if (::ftruncate(file.get(), static_cast<off_t>(kBytes)) != 0) {
    return refused("ftruncate() to " + describe_bytes(kBytes));
  }
  void* const control =
      ::mmap(nullptr, kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (control == MAP_FAILED) {
    return refused("mmap()");
  }
  return std::unique_ptr<SharedMemory>(
      new SharedMemory(std::move(file), static_cast<std::byte*>(control)));
}

SharedMemory::~SharedMemory() {
  ::munmap(control_, kControlBytes);
}

Result<std::uint64_t> SharedMemory::adopt(std::byte* host, std::uint64_t size) {
  if (!fits(next_, size, kBytes)) {
    return Error{Errc::kOutOfRange, 0,
                 "the simulated machine has " + describe_bytes(kBytes) +
                     " for all memory that is ever mapped into a VM, and they are used up"};
  }
  const std::uint64_t offset = next_;
  void* const copy = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(),
                            static_cast<off_t>(offset));
  if (copy == MAP_FAILED) {
    return refused("mmap()");
  }
  copy_used_pages(host, static_cast<std::byte*>(copy), size);
  // The caller's address now shows the same pages.
  void* const overlaid = ::mmap(host, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                                file_.get(), static_cast<off_t>(offset));
  const int failure = errno;
  ::munmap(copy, size);
  if (overlaid == MAP_FAILED) {
    errno = failure;
    return refused("mmap() over " + hex(reinterpret_cast<std::uintptr_t>(host)));
  }
  next_ += size;
  return kRamBase + offset;
}

}  // namespace stasis::hvf::sim
