// A file that the process maps shared, as far as it is in memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "guests/linux/address_space.h"
#include "guests/linux/vm/guest_ram.h"

namespace stasis::linux_guest::vm {

// Each page that an entry of the page tables shows has one frame, however many entries show it, and
// is back in the file when the last of them is gone. Not part of a snapshot, which has the entries.
// Resource: the file reads and writes through it. Only while no vCPU is in the guest.
class SharedFile final : public SharedPages {
 public:
  SharedFile(std::shared_ptr<const MappedFile> file, GuestRam& ram);
  ~SharedFile() override;
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  [[nodiscard]] std::optional<Gpa> find(std::uint64_t index) const;
  // One more entry shows the page, which is in `frame`.
  void add(std::uint64_t index, Gpa frame);
  // One less. True: it was the last; the page is in the file, and the frame nobody's.
  [[nodiscard]] bool remove(std::uint64_t index, Gpa frame);
  [[nodiscard]] bool is_empty() const { return pages_.empty(); }
  [[nodiscard]] const std::shared_ptr<const MappedFile>& file() const { return file_; }

  [[nodiscard]] std::span<const std::byte> view(std::uint64_t index) const override;
  [[nodiscard]] std::span<std::byte> to_write(std::uint64_t index) override;
  void zero(std::uint64_t begin, std::uint64_t end) override;

 private:
  struct Page {
    Gpa frame;
    std::uint64_t entries = 0;
  };
  std::shared_ptr<const MappedFile> file_;
  GuestRam& ram_;
  std::map<std::uint64_t, Page> pages_;
};

}  // namespace stasis::linux_guest::vm
