/* Deterministic work between system calls, with state in registers, SSE, the heap and the stack:
 * whoever is saved and restored anywhere in it must come to the same end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long mix(unsigned long x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdUL;
  x ^= x >> 33;
  return x;
}

int main(void) {
  unsigned long sum = 1;
  double real = 1.0;
  char* blocks[64] = {0};
  for (int i = 0; i < 200; ++i) {
    const unsigned slot = mix(sum + i) % 64;
    free(blocks[slot]);
    const size_t size = 16 + mix(sum * 3 + i) % 300000;
    blocks[slot] = malloc(size);
    memset(blocks[slot], (int)(sum & 0xff), size);
    sum = mix(sum + (unsigned char)blocks[slot][size / 2] + size);
    real = real * 1.0000001 + (double)(sum % 1000) / 7.0;
    char* page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[4096] = (char)sum;
    mprotect(page, 4096, PROT_READ);
    sum += (unsigned char)page[4096] + (unsigned char)page[0];
    munmap(page, 8192);
    if (i % 10 == 0) {
      char line[128];
      const int n = snprintf(line, sizeof(line), "%d %lx %.17g\n", i, sum, real);
      if (write(1, line, (size_t)n) != n) {
        return 1;
      }
    }
  }
  printf("end %lx %.17g\n", sum, real);
  return 0;
}
