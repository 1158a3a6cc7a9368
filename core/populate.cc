#include "core/populate.h"

#include <sys/mman.h>

namespace stasis::internal {

#if defined(MADV_POPULATE_READ) && defined(MADV_POPULATE_WRITE)
// Every failure means only that a page comes later: an old kernel, no memory, a file that was cut
// (whose loss is noticed where the page is touched).
void populate(std::span<std::byte> bytes, PopulateFor access) {
  ::madvise(bytes.data(), bytes.size(),
            access == PopulateFor::kWriting ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}
#else
void populate(std::span<std::byte>, PopulateFor) {}
#endif

}  // namespace stasis::internal
