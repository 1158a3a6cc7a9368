// The memory of a process that does not exist: pages with permissions in a map. What is mapped from
// a file is read at once. Follows the contract of AddressSpace where a test could tell.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guests/linux/address_space.h"

namespace stasis::linux_guest {

class FakeMemory final : public AddressSpace {
 public:
  std::size_t read(UserAddress from, std::span<std::byte> out) override;
  std::size_t write(UserAddress to, std::span<const std::byte> bytes) override;
  SysResult map(const MapRequest& request) override;
  SysResult unmap(UserAddress begin, std::uint64_t size_bytes) override;
  SysResult protect(UserAddress begin, std::uint64_t size_bytes, Protection protection) override;
  SysResult remap(UserAddress old_begin, std::uint64_t old_size, std::uint64_t new_size,
                  std::uint64_t flags, UserAddress new_begin) override;
  SysResult advise(UserAddress begin, std::uint64_t size_bytes, int advice) override;
  SysResult set_break(UserAddress end) override;
  [[nodiscard]] std::vector<Mapping> mappings() const override;
  [[nodiscard]] std::uint64_t resident_bytes() const override { return pages_.size() * kPageBytes; }
  [[nodiscard]] std::uint64_t memory_bytes() const override { return kPagesMax * kPageBytes; }

  [[nodiscard]] const MapRequest& last_request() const { return last_request_; }
  [[nodiscard]] std::size_t files_mapped() const { return files_.size(); }
  void forget_files() { files_.clear(); }

 private:
  static constexpr std::uint64_t kPagesMax = 4096;
  struct Page {
    Protection protection = Protection::kNone;
    std::array<std::byte, kPageBytes> bytes = {};
  };
  [[nodiscard]] bool has_pages(std::uint64_t first, std::uint64_t count) const;
  std::map<std::uint64_t, Page> pages_;  // By number.
  std::vector<std::shared_ptr<const MappedFile>> files_;
  MapRequest last_request_;
  std::uint64_t next_ = 0x7f00'0000'0000;
};

}  // namespace stasis::linux_guest
