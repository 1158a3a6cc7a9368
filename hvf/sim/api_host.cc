// What users of the framework call of macOS beside it.
#include <libkern/OSCacheControl.h>
#include <mach/mach_time.h>

#include <bit>
#include <chrono>
#include <cstdint>
#include <string>

#include "core/result.h"
#include "hvf/sim/diagnosis.h"
#include "hvf/sim/process.h"

using stasis::Result;
using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;

std::uint64_t mach_absolute_time() {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count();
  std::uint64_t count = static_cast<std::uint64_t>(nanoseconds) / 125 * 3;  // 24 MHz.
  process().with_machine([&](Machine& machine) -> Result<hv_return_t> {
    STASIS_ASSIGN(count, machine.engine->counter());
    return hv_return_t{HV_SUCCESS};
  });
  return count;
}

void sys_icache_invalidate(void* start, std::size_t length) {
  process().with_machine([&](Machine& machine) {
    return machine.forget_code(std::bit_cast<std::uintptr_t>(start), length);
  });
}

namespace stasis::hvf::sim {

void expect_vcpus(std::uint32_t vcpus) {
  process().expect_vcpus(vcpus);
}

std::string last_failure() {
  return process().last_failure();
}

std::optional<int> qemu_process_id() {
  std::optional<int> id;
  process().with_machine([&](Machine& machine) -> Result<hv_return_t> {
    id = machine.engine->qemu_process_id();
    return hv_return_t{HV_SUCCESS};
  });
  return id;
}

}  // namespace stasis::hvf::sim
