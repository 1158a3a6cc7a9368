#include "experiments/harness/free_memory.h"

#include <sys/mman.h>

#include <cerrno>

#include "core/clock.h"
#include "core/text.h"
#include "experiments/floor/fresh_memory.h"

namespace stasis::experiments {

Result<std::int64_t> back_free_memory_ns(std::uint64_t bytes) {
  const MonotonicNs begin = host_clock().now();
  auto memory = FreshMemory::map(Backing::kHugePages, bytes);
  if (!memory) {
    return std::move(memory).error().with_context("back " + describe_bytes(bytes) +
                                                  " of free memory");
  }
  memory->touch();
  return host_clock().now() - begin;
}

}  // namespace stasis::experiments
