// Free memory as a state that an experiment sets, like the page cache.
#pragma once

#include <cstdint>

#include "core/result.h"

namespace stasis::experiments {

// Makes `bytes` of free memory cost what memory costs, and frees them again: the next process that
// asks for memory gets these pages.
//
// Inside a virtual machine a free page may have nothing behind it, because the balloon driver has
// reported it to the outer hypervisor (free page reporting, some two seconds after it was freed).
// Its first use then waits for the outer host: measured 1.3 ms for each MiB instead of 0.09, and
// whether a trial meets such pages is chance. Returns how long it took, for the row. Errors: kIo.
Result<std::int64_t> back_free_memory_ns(std::uint64_t bytes);

}  // namespace stasis::experiments
