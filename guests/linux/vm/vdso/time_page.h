/* The page from which the vDSO tells the time: what the host writes and the guest reads. The host
 * writes while the guest is out of it, wherever that was interrupted. For C, which the vDSO is
 * written in, and C++. */
#pragma once

#include <stdint.h>

/* NOLINTBEGIN: it is C. */
/* At the begin of the page; an empty page asks for system calls. */
struct stasis_time_page {
  uint32_t sequence; /* Another one after each change. */
  uint32_t mode;     /* STASIS_TIME_... */
  uint64_t counter;  /* The time-stamp counter when it was this late: */
  int64_t monotonic_ns;
  int64_t real_ns;
  uint64_t multiplier; /* Of one count, in nanoseconds times 2^32. */
};

enum {
  STASIS_TIME_BY_SYSTEM_CALL = 0,
  STASIS_TIME_BY_COUNTER = 1,
  STASIS_TIME_PAGE_BYTES = 4096,
};
/* NOLINTEND */
