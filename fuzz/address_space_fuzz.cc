#include <cstdint>

#include "fuzz/linux_vm_targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  stasis::fuzz::address_space(std::as_bytes(std::span(data, size)));
  return 0;
}
