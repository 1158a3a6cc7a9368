// Between ProcessState and bytes. The only file that names the generated code of
// schemas/linux_process.capnp is process_codec.cc.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/result.h"
#include "guests/linux/state/process_state.h"

namespace stasis::linux_guest {

[[nodiscard]] std::vector<std::byte> encode_process(const ProcessState& state);
// Any bytes; what comes back has passed check_state(). kCorruption, or kNotSupported of a version
// that is newer than this.
Result<ProcessState> decode_process(std::span<const std::byte> bytes);

}  // namespace stasis::linux_guest
