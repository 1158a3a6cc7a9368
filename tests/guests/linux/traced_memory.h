// The memory of a traced process. Mapping and protecting are done by system calls that the process
// is made to execute; a file mapping is an anonymous one filled with the file's content.
#pragma once

#include <sys/types.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "guests/linux/address_space.h"

namespace stasis::linux_guest {

class TracedMemory final : public AddressSpace {
 public:
  // The process is stopped; `code` is mapped and executable in it.
  TracedMemory(pid_t pid, UserAddress code);

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
  [[nodiscard]] std::uint64_t resident_bytes() const override { return std::uint64_t{16} << 20U; }
  [[nodiscard]] std::uint64_t memory_bytes() const override { return std::uint64_t{4} << 30U; }

 private:
  SysResult inject(long number, const std::array<std::uint64_t, 6>& arguments);
  pid_t pid_;
  UserAddress syscall_at_;                                            // A SYSCALL instruction.
  std::map<std::uint64_t, std::shared_ptr<const MappedFile>> files_;  // By begin.
};

}  // namespace stasis::linux_guest
