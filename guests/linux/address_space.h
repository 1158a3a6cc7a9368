// A Linux process's memory as its kernel sees it: what system calls read and write through, and the
// operations behind mmap and its family. The syscall layer is written against these interfaces; the
// real ones sit on guest page tables, those of tests on a plain buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace stasis::linux_guest {

// A virtual address of the guest process. Not an integer, and never a host pointer.
struct UserAddress {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const UserAddress&, const UserAddress&) = default;
};
constexpr UserAddress operator+(UserAddress address, std::uint64_t bytes) {
  return UserAddress{address.value + bytes};
}

// User space ends here, as on Linux with four-level paging (Documentation/arch/x86/x86_64/mm.rst).
constexpr std::uint64_t kUserSpaceEnd = 0x7fff'ffff'f000;
constexpr std::uint64_t kPageBytes = 4096;

// A system call's result in the kernel's own convention: a value, or -errno.
using SysResult = std::int64_t;

// copy_from_user and copy_to_user. Every address and length is the guest's and may be anything.
class UserMemory {
 public:
  virtual ~UserMemory() = default;
  // How many bytes were copied before the first one that the process itself could not have read or
  // written (unmapped, no permission, beyond user space); pages not yet present are made so.
  // All of them: out.size() or bytes.size().
  [[nodiscard]] virtual std::size_t read(UserAddress from, std::span<std::byte> out) = 0;
  [[nodiscard]] virtual std::size_t write(UserAddress to, std::span<const std::byte> bytes) = 0;
};

enum class Protection : std::uint8_t { kNone = 0, kRead = 1, kWrite = 2, kExecute = 4 };
constexpr Protection operator|(Protection a, Protection b) {
  return static_cast<Protection>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool has(Protection set, Protection one) {
  return (static_cast<std::uint8_t>(set) & static_cast<std::uint8_t>(one)) != 0;
}

// The pages of a file that is mapped shared, while they are in the memory of the process: there,
// and nowhere else, is their content.
class SharedPages {
 public:
  virtual ~SharedPages() = default;
  // Page `index` of the file; empty: it is not there.
  [[nodiscard]] virtual std::span<const std::byte> view(std::uint64_t index) const = 0;
  [[nodiscard]] virtual std::span<std::byte> to_write(std::uint64_t index) = 0;
  // Bytes of the file, where they are there.
  virtual void zero(std::uint64_t begin, std::uint64_t end) = 0;
};

// What a file mapping shows. Immutable, shareable; alive as long as a mapping of it is. A private
// mapping reads each page at most once, at its first touch, so the content is part of a snapshot
// only as far as it was touched; the rest is read again after a restore from the same source.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  [[nodiscard]] virtual std::string path() const = 0;  // As /proc/self/maps shows it.
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Bytes read at `offset`, fewer only at the end of the file; or -errno.
  [[nodiscard]] virtual SysResult read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
  // Identifies the source in a snapshot, and finds it again after a restore (AddressSpaceFiles).
  [[nodiscard]] virtual std::uint64_t snapshot_id() const = 0;

  // Shared mappings that show what is written, by whichever way: of files that live in the VM.
  [[nodiscard]] virtual bool can_be_shared() const { return false; }
  // Where its pages are from now on; null: all of them are back. Borrowed.
  virtual void share(SharedPages* /*pages*/) const {}
  // Makes room for a page that is about to be in memory. False: there is none.
  [[nodiscard]] virtual bool reserve_page(std::uint64_t /*index*/) const { return false; }
  // A page that has been in memory.
  virtual void put_back(std::uint64_t /*index*/, std::span<const std::byte> /*page*/) const {}
};

// Value.
struct MapRequest {
  UserAddress hint;              // Where, if fixed or free.
  std::uint64_t size_bytes = 0;  // Any; rounded up to pages.
  Protection protection = Protection::kNone;
  enum class Placement : std::uint8_t {
    kAnywhere,
    kFixed,
    kFixedNoReplace
  } placement = Placement::kAnywhere;
  enum class Sharing : std::uint8_t { kPrivate, kShared } sharing = Sharing::kPrivate;
  bool may_write = false;                       // Shared, of a file: it is open for writing.
  bool grows_down = false;                      // MAP_GROWSDOWN: stacks.
  std::shared_ptr<const MappedFile> file = {};  // Null: anonymous.
  std::uint64_t file_offset = 0;                // A multiple of kPageBytes.
  std::string name = {};                        // "[heap]", "[stack]": for maps alone.
};

// One line of /proc/self/maps. Value.
struct Mapping {
  UserAddress begin;
  std::uint64_t size_bytes = 0;
  Protection protection = Protection::kNone;
  MapRequest::Sharing sharing = MapRequest::Sharing::kPrivate;
  std::uint64_t file_offset = 0;
  std::string name;  // Path of the file, or "[heap]" and the like, or empty.
  std::shared_ptr<const MappedFile> file = {};  // Null: anonymous.
};

// The results are those of the system calls of the same name: an address or 0, or -errno. Changes
// reach the process's own view no later than its next instruction. Not thread-safe: called on the
// vCPU's thread while that is out of the guest.
class AddressSpace : public UserMemory {
 public:
  virtual SysResult map(const MapRequest& request) = 0;
  virtual SysResult unmap(UserAddress begin, std::uint64_t size_bytes) = 0;
  virtual SysResult protect(UserAddress begin, std::uint64_t size_bytes, Protection protection) = 0;
  // mremap(2) with its own flags.
  virtual SysResult remap(UserAddress old_begin, std::uint64_t old_size, std::uint64_t new_size,
                          std::uint64_t flags, UserAddress new_begin) = 0;
  // madvise(2) with its own advice; what has no effect on content may be ignored.
  virtual SysResult advise(UserAddress begin, std::uint64_t size_bytes, int advice) = 0;
  virtual SysResult set_break(UserAddress end) = 0;  // brk(2): the new or the unchanged end.
  // Shared anonymous memory is private memory of the one process there is. A shared mapping to
  // write needs a file that can_be_shared(): else -ENODEV.

  [[nodiscard]] virtual std::vector<Mapping> mappings() const = 0;  // Ascending.
  // Resident pages and the limit of guest memory, in bytes: for sysinfo, /proc/self/statm.
  [[nodiscard]] virtual std::uint64_t resident_bytes() const = 0;
  [[nodiscard]] virtual std::uint64_t memory_bytes() const = 0;
};

}  // namespace stasis::linux_guest
