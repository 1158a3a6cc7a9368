// The address space of a Linux guest: mappings, page tables and frames.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "guests/linux/address_space.h"
#include "guests/linux/vm/frame_allocator.h"
#include "guests/linux/vm/guest_ram.h"
#include "guests/linux/vm/page_tables.h"
#include "guests/linux/vm/shared_file.h"
#include "guests/linux/vm/vdso/time_page.h"
#include "guests/linux/vm/vma_map.h"

namespace stasis::linux_guest::vm {

class ByteReader;
class ByteWriter;

enum class Access : std::uint8_t { kRead, kWrite, kExecute };

// What became of an access that the processor refused.
enum class Resolution : std::uint8_t {
  kResolved,     // It will succeed now.
  kNotMapped,    // No mapping: SEGV_MAPERR.
  kDenied,       // The mapping does not allow it: SEGV_ACCERR.
  kBeyondFile,   // A page behind the end of the mapped file, or unreadable: SIGBUS.
  kOutOfMemory,  // Guest RAM or the pool of page tables is used up.
};

// Where the kernel puts what the process does not place itself. Value.
struct AddressPlan {
  std::uint64_t break_begin = 0;   // The heap's begin.
  std::uint64_t mmap_top = 0;      // Mappings are placed from here downwards.
  std::uint64_t stack_lowest = 0;  // How far a stack may grow.
};

// Pages come into being at their first touch, several at a time (kFaultPages and up; whole 2 MiB
// where a large anonymous mapping covers them), so that mapping and unmapping what is never touched
// costs no change of page tables. Every frame belongs to one page: there is one process, and no
// fork. A page of a file that is mapped shared may be shown at several addresses (SharedFile).
// Frames that are given back are zeroed at once, which keeps them out of snapshots.
//
// As AddressSpace: on the vCPU's thread while that is out of the guest.
class GuestAddressSpace final : public AddressSpace {
 public:
  // `memory_bytes` of RAM in the layout of guest_memory_regions(), all zero. RAM is attached before
  // the first use; what is asked before finds nothing.
  static std::unique_ptr<GuestAddressSpace> create(std::uint64_t memory_bytes);
  void attach(GuestMemory& memory);
  [[nodiscard]] bool is_attached() const { return ram_.is_attached(); }
  // The structures of system_tables.h, into fresh RAM.
  void write_system();
  void set_plan(const AddressPlan& plan);
  [[nodiscard]] const AddressPlan& plan() const { return plan_; }

  // The time page of the vDSO (vdso/time_page.h), which the process can only read; its sequence is
  // the next. Nothing happens where the process has no such page, or no longer.
  void write_time_page(stasis_time_page page);
  [[nodiscard]] std::uint64_t time_page_address() const { return plan_.mmap_top + kTimePageGap; }

  Resolution resolve(UserAddress address, Access access);
  // Page-table entries that the guest has to write again before ring 3 runs on.
  [[nodiscard]] std::vector<EntryRun>& rewrites() { return tables_.rewrites(); }

  [[nodiscard]] std::size_t read(UserAddress from, std::span<std::byte> out) override;
  [[nodiscard]] std::size_t write(UserAddress to, std::span<const std::byte> bytes) override;
  SysResult map(const MapRequest& request) override;
  SysResult unmap(UserAddress begin, std::uint64_t size_bytes) override;
  SysResult protect(UserAddress begin, std::uint64_t size_bytes, Protection protection) override;
  SysResult remap(UserAddress old_begin, std::uint64_t old_size, std::uint64_t new_size,
                  std::uint64_t flags, UserAddress new_begin) override;
  SysResult advise(UserAddress begin, std::uint64_t size_bytes, int advice) override;
  SysResult set_break(UserAddress end) override;
  [[nodiscard]] std::vector<Mapping> mappings() const override;
  [[nodiscard]] std::uint64_t resident_bytes() const override;
  [[nodiscard]] std::uint64_t memory_bytes() const override { return frame_bytes_; }
  [[nodiscard]] std::uint64_t total_bytes() const { return memory_bytes_; }  // All guest RAM.

  // All of it but what lies in guest RAM. decode() does not trust the bytes: kCorruption.
  void encode(ByteWriter& out) const;
  static Result<std::unique_ptr<GuestAddressSpace>> decode(ByteReader& in);
  // After decode(): gives file mappings their files by MappedFile::snapshot_id(). kMismatch, naming
  // the mapping, when `find` answers null.
  using FindFile = std::function<std::shared_ptr<const MappedFile>(std::uint64_t snapshot_id)>;
  Result<void> bind_files(const FindFile& find);

  static constexpr std::uint64_t kFaultPages = 16;
  static constexpr std::uint64_t kFaultPagesMax = 256;  // When faults follow each other.
  // Between what mmap() places and the stack's lowest place.
  static constexpr std::uint64_t kTimePageGap = std::uint64_t{1} << 20U;
  static constexpr std::string_view kTimePageName = "[vvar]";
  static constexpr std::uint64_t kMappingsMax = 65530;  // As vm.max_map_count.

 private:
  GuestAddressSpace(std::uint64_t memory_bytes, std::uint64_t tables_used, FrameAllocator frames);

  // address_space_map.cc
  [[nodiscard]] SysResult place(const MapRequest& request, std::uint64_t size) const;
  [[nodiscard]] std::optional<std::uint64_t> find_place(std::uint64_t size) const;
  void drop(std::uint64_t begin, std::uint64_t end);  // Mappings and pages; split_edges() before.
  // address_space_pages.cc
  [[nodiscard]] bool split_edges(std::uint64_t begin, std::uint64_t end);
  // Of one mapping, which may have been taken out already.
  void release_pages(const Vma& vma, std::uint64_t begin, std::uint64_t end);
  void protect_pages(std::uint64_t begin, std::uint64_t end, Protection protection);
  [[nodiscard]] bool move_pages(std::uint64_t from, std::uint64_t to, std::uint64_t size);
  // Gives frames to what has none in [begin, end) of one mapping.
  Resolution populate(const Vma& vma, std::uint64_t begin, std::uint64_t end);
  Resolution populate_shared(const Vma& vma, std::uint64_t begin, std::uint64_t end);
  SharedFile& shared_file(const Vma& vma);
  void count_shared_pages();
  bool fill_from_file(const Vma& vma, std::uint64_t address, GpaRange frames);
  template <typename Visit>  // Each leaf with an entry in [begin, end): visit(address, leaf).
  void for_each_leaf(std::uint64_t begin, std::uint64_t end, Visit visit);
  // address_space_fault.cc
  bool grow_stack(std::uint64_t address);
  Resolution populate_around(const Vma& vma, std::uint64_t page);
  bool populate_huge(const Vma& vma, std::uint64_t page);
  template <typename Copy>  // copy(frame bytes, done)
  std::size_t copy_user(UserAddress address, std::size_t size, Access access, Copy copy);
  // address_space_remap.cc
  SysResult grow_or_move(const Vma& vma, std::uint64_t begin, std::uint64_t old_size,
                         std::uint64_t new_size, std::uint64_t flags);
  SysResult move(std::uint64_t from, std::uint64_t old_size, std::uint64_t to,
                 std::uint64_t new_size, std::uint64_t flags);

  std::uint64_t memory_bytes_;  // All RAM.
  std::uint64_t frame_bytes_;   // Of it, what the process can use.
  GuestRam ram_;
  FrameAllocator frames_;
  PageTables tables_;
  VmaMap vmas_;
  std::map<const MappedFile*, std::unique_ptr<SharedFile>> shared_;
  AddressPlan plan_;
  std::uint64_t break_end_ = 0;
  std::uint64_t next_fault_ = 0;  // Where the last window ended: faults that follow widen it.
  std::uint64_t window_pages_ = kFaultPages;
  struct Unbound {
    Vma vma;
    std::uint64_t file = 0;  // 0: anonymous; else a snapshot id plus one.
    bool shows_shared_pages = false;
  };
  std::vector<Unbound> unbound_;  // All mappings, from decode() to bind_files().
};

}  // namespace stasis::linux_guest::vm
