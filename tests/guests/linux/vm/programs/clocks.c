/* A function that reads the clocks by turns through the C library, which asks the vDSO, and by system
 * calls. Answers "ok" and how many system calls it made for it, or what is wrong. What it has read
 * before, also before a restore, must not be later than what it reads now. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long calls;

static long asked(long number, long first, void* second) {
  ++calls;
  return syscall(number, first, second);
}

static int64_t ns_of(struct timespec time) {
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* By turns; nothing runs backwards. */
static const char* compare(clockid_t clock, int64_t* last) {
  for (int i = 0; i < 200; ++i) {
    struct timespec time;
    const int failed =
        i % 10 == 9 ? (int)asked(SYS_clock_gettime, clock, &time) : clock_gettime(clock, &time);
    if (failed != 0 || time.tv_nsec < 0 || time.tv_nsec >= 1000000000) {
      return "a reading failed";
    }
    if (ns_of(time) < *last) {
      return i == 0        ? "the clock runs backwards between two requests"
             : i % 10 == 9 ? "the system call is behind the vDSO"
                           : "the vDSO is behind the system call";
    }
    *last = ns_of(time);
  }
  return NULL;
}

static const char* compare_others(void) {
  struct timeval shown;
  struct timezone zone = {77, 77};
  struct timespec real, resolution = {77, 77}, same;
  clock_gettime(CLOCK_REALTIME, &real);
  if (gettimeofday(&shown, &zone) != 0 || zone.tz_minuteswest != 0 || zone.tz_dsttime != 0 ||
      (int64_t)shown.tv_sec * 1000000 + shown.tv_usec < ns_of(real) / 1000) {
    return "gettimeofday";
  }
  time_t seconds = 0;
  if (asked(SYS_gettimeofday, (long)&shown, NULL) != 0 || time(&seconds) != seconds ||
      seconds < shown.tv_sec) {
    return "time";
  }
  unsigned cpu = 77, node = 77;
  if (getcpu(&cpu, &node) != 0 || cpu != 0 || node != 0) {
    return "getcpu";
  }
  if (clock_getres(CLOCK_MONOTONIC, &resolution) != 0 ||
      asked(SYS_clock_getres, CLOCK_MONOTONIC, &same) != 0 ||
      ns_of(resolution) != ns_of(same) || clock_getres(CLOCK_MONOTONIC, NULL) != 0) {
    return "clock_getres";
  }
  if (clock_gettime(77, &real) == 0) {
    return "a clock that there is not";
  }
  return NULL;
}

static const clockid_t clocks[] = {CLOCK_MONOTONIC,        CLOCK_MONOTONIC_RAW,
                                   CLOCK_BOOTTIME,         CLOCK_MONOTONIC_COARSE,
                                   CLOCK_REALTIME,         CLOCK_REALTIME_COARSE,
                                   CLOCK_PROCESS_CPUTIME_ID};
#define CLOCKS (sizeof(clocks) / sizeof(*clocks))

int main(void) {
  static int64_t last[CLOCKS];
  char text[256];
  const int device = open("/dev/stasis", O_RDWR);
  if (getauxval(AT_SYSINFO_EHDR) == 0) {
    return 3;
  }
  for (;;) {
    if (read(device, text, sizeof(text)) <= 0) {
      return 4;
    }
    calls = 0;
    const char* wrong = compare_others();
    for (size_t i = 0; i < CLOCKS && wrong == NULL; ++i) {
      wrong = compare(clocks[i], &last[i]);
    }
    const int size = wrong == NULL
                         ? snprintf(text, sizeof(text), "ok %ld monotonic %lld", calls,
                                    (long long)last[0])
                         : snprintf(text, sizeof(text), "%s", wrong);
    if (write(device, text, (size_t)size) != size) {
      return 5;
    }
  }
}
