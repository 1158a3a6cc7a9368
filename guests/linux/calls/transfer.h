// Moving bytes between a file and the memory of the process, and waiting if that is needed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

// At `at`, or at the file's own offset, which then moves on. The result of read(2); kBlocked.
[[nodiscard]] SysResult read_file(Call& call, File& file, std::span<const UserSpan> spans,
                                  std::optional<std::uint64_t> at);
// The result of write(2), with SIGPIPE sent; kBlocked.
[[nodiscard]] SysResult write_file(Call& call, File& file, std::span<const UserSpan> spans,
                                   std::optional<std::uint64_t> at);

}  // namespace stasis::linux_guest
