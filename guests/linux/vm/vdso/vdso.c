/* The vDSO of a Linux guest: the clocks, without leaving the guest. It lies behind its time page
 * (time_page.h), is one segment, and has no data and no relocations. What it cannot tell from the
 * page it asks the kernel, as does all of it where the time-stamp counter is not to be trusted. */
#include "time_page.h"

struct timespec64 {
  int64_t seconds, nanoseconds;
};
struct timeval64 {
  int64_t seconds, microseconds;
};
struct zone {
  int32_t minutes_west, daylight;
};

/* Of linux/time.h. */
enum {
  REALTIME = 0,
  MONOTONIC = 1,
  MONOTONIC_RAW = 4,
  REALTIME_COARSE = 5,
  MONOTONIC_COARSE = 6,
  BOOTTIME = 7,
  TAI = 11,
};
enum { SYS_GETTIMEOFDAY = 96, SYS_TIME = 201, SYS_CLOCK_GETTIME = 228, SYS_CLOCK_GETRES = 229 };

static const int64_t second_ns = 1000000000;

/* The linker script says where. */
extern const volatile struct stasis_time_page stasis_time_page
    __attribute__((visibility("hidden")));

static long system_call(long number, long first, long second) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(first), "S"(second)
                   : "rcx", "r11", "memory");
  return result;
}

/* Not before what precedes it in the program (Intel SDM vol. 2B, RDTSC). */
static uint64_t read_counter(void) {
  uint32_t low, high;
  __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

/* Negative: ask the kernel. */
static int64_t now_ns(int is_real) {
  const volatile struct stasis_time_page* const page = &stasis_time_page;
  for (;;) {
    const uint32_t sequence = page->sequence;
    if (page->mode != STASIS_TIME_BY_COUNTER) {
      return -1;
    }
    const uint64_t now = read_counter();
    const uint64_t then = page->counter;
    const uint64_t counts = now > then ? now - then : 0;
    const int64_t base = is_real ? page->real_ns : page->monotonic_ns;
    const uint64_t passed = (uint64_t)((unsigned __int128)counts * page->multiplier >> 32);
    if (page->sequence == sequence) {
      return base + (int64_t)passed;
    }
  }
}

/* Negative: one that only the kernel knows. */
static int is_real(int clock) {
  /* No switch: a compiler may make a table of addresses of it, which would need relocations. */
  const unsigned real = 1U << REALTIME | 1U << REALTIME_COARSE | 1U << TAI;
  const unsigned monotonic =
      1U << MONOTONIC | 1U << MONOTONIC_RAW | 1U << MONOTONIC_COARSE | 1U << BOOTTIME;
  if ((unsigned)clock > TAI) {
    return -1;
  }
  return (real >> clock & 1U) != 0 ? 1 : (monotonic >> clock & 1U) != 0 ? 0 : -1;
}

int __vdso_clock_gettime(int clock, struct timespec64* time);
int __vdso_clock_gettime(int clock, struct timespec64* time) {
  const int kind = is_real(clock);
  const int64_t ns = kind < 0 ? -1 : now_ns(kind);
  if (ns < 0) {
    return (int)system_call(SYS_CLOCK_GETTIME, clock, (long)time);
  }
  time->seconds = ns / second_ns;
  time->nanoseconds = ns % second_ns;
  return 0;
}

int __vdso_clock_getres(int clock, struct timespec64* resolution);
int __vdso_clock_getres(int clock, struct timespec64* resolution) {
  if (is_real(clock) < 0) {
    return (int)system_call(SYS_CLOCK_GETRES, clock, (long)resolution);
  }
  if (resolution != 0) {
    resolution->seconds = 0;
    resolution->nanoseconds = 1;
  }
  return 0;
}

int __vdso_gettimeofday(struct timeval64* time, struct zone* zone);
int __vdso_gettimeofday(struct timeval64* time, struct zone* zone) {
  const int64_t ns = time == 0 ? 0 : now_ns(1);
  if (ns < 0) {
    return (int)system_call(SYS_GETTIMEOFDAY, (long)time, (long)zone);
  }
  if (time != 0) {
    time->seconds = ns / second_ns;
    time->microseconds = ns % second_ns / 1000;
  }
  if (zone != 0) {
    zone->minutes_west = 0;
    zone->daylight = 0;
  }
  return 0;
}

int64_t __vdso_time(int64_t* time);
int64_t __vdso_time(int64_t* time) {
  const int64_t ns = now_ns(1);
  if (ns < 0) {
    return system_call(SYS_TIME, (long)time, 0);
  }
  if (time != 0) {
    *time = ns / second_ns;
  }
  return ns / second_ns;
}

/* There is one processor. */
int __vdso_getcpu(uint32_t* cpu, uint32_t* node, void* unused);
int __vdso_getcpu(uint32_t* cpu, uint32_t* node, void* unused) {
  (void)unused;
  if (cpu != 0) {
    *cpu = 0;
  }
  if (node != 0) {
    *node = 0;
  }
  return 0;
}

#define ALIAS(name) __attribute__((weak, alias("__vdso_" #name)))
int clock_gettime(int clock, struct timespec64* time) ALIAS(clock_gettime);
int clock_getres(int clock, struct timespec64* resolution) ALIAS(clock_getres);
int gettimeofday(struct timeval64* time, struct zone* zone) ALIAS(gettimeofday);
int64_t time(int64_t* time) ALIAS(time);
int getcpu(uint32_t* cpu, uint32_t* node, void* unused) ALIAS(getcpu);
