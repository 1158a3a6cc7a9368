/* A function without a clock or randomness: what it answers, and all of its memory, depends on the
 * requests that it has had, and on nothing else. State is in the heap, in mappings that come and go,
 * in a file of /tmp, in SSE registers and on the stack. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 32

static unsigned long mix(unsigned long x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdUL;
  x ^= x >> 33;
  return x;
}

int main(void) {
  static char request[4096];
  static char answer[4096];
  char* slots[SLOTS] = {0};
  unsigned long sum = 1;
  double real = 1.0;
  const int device = open("/dev/stasis", O_RDWR);
  const int log = open("/tmp/log", O_RDWR | O_CREAT, 0600);
  if (device < 0 || log < 0) {
    return 9;
  }
  for (unsigned long count = 1;; ++count) {
    const ssize_t bytes = read(device, request, sizeof(request) - 1);
    if (bytes < 0) {
      return 8;
    }
    request[bytes] = 0;
    request[strcspn(request, "\n")] = 0; /* The device ends a request with a line feed. */
    if (strncmp(request, "exit ", 5) == 0) {
      return atoi(request + 5);
    }
    if (strncmp(request, "kill ", 5) == 0) {
      raise(atoi(request + 5));
    }
    for (const char* at = request; *at != 0; ++at) {
      sum = mix(sum + (unsigned char)*at);
      const unsigned slot = sum % SLOTS;
      free(slots[slot]);
      const size_t size = 16 + mix(sum + count) % 40000;
      slots[slot] = malloc(size);
      memset(slots[slot], (int)(sum & 0xff), size);
      real = real * 1.0000001 + (double)(sum % 1000) / 7.0;
    }
    char* pages = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages[(sum % 4) * 4096] = (char)sum;
    sum += (unsigned char)pages[0];
    if (sum % 2 == 0) {
      munmap(pages, 16384);
    }
    if (write(log, request, strlen(request)) < 0) {
      return 7;
    }
    const int size = snprintf(answer, sizeof(answer), "%lu %lx %.17g %ld %s", count, sum, real,
                              (long)lseek(log, 0, SEEK_END), request);
    if (write(device, answer, (size_t)size) != size) {
      return 6;
    }
  }
}
