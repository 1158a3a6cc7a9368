/* Sorts n pseudo-random numbers (FunctionBench has no function in C; this is ours). Touches n * 8
   bytes of fresh memory in a pattern that is neither sequential nor uniform. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "stasis_function.h"

enum { kNumbersMax = 8 << 20 };

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA'14). */
static uint64_t next_number(uint64_t* state) {
  uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

static int compare(const void* left, const void* right) {
  uint64_t a = *(const uint64_t*)left;
  uint64_t b = *(const uint64_t*)right;
  return (a > b) - (a < b);
}

/* FNV-1a over the numbers' bytes, the lowest first. */
static uint64_t digest(const uint64_t* numbers, size_t count) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; ++i) {
    for (int shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ ((numbers[i] >> shift) & 0xff)) * 0x100000001b3u;
    }
  }
  return hash;
}

static void handle(const char* request, char* response, size_t size) {
  uint64_t count = 0;
  uint64_t seed = 0;
  if (!stasis_integer(request, "n", 1, kNumbersMax, &count) ||
      !stasis_integer(request, "seed", 0, UINT64_MAX, &seed)) {
    snprintf(response, size, "{\"error\":\"n (1 to %d) and seed are wanted\"}", kNumbersMax);
    return;
  }
  uint64_t* numbers = malloc(count * sizeof *numbers);
  if (numbers == NULL) {
    snprintf(response, size, "{\"error\":\"no memory for n numbers\"}");
    return;
  }
  for (size_t i = 0; i < count; ++i)
    numbers[i] = next_number(&seed);
  qsort(numbers, count, sizeof *numbers, compare);
  snprintf(response, size, "{\"fnv1a\":\"%016" PRIx64 "\",\"least\":%" PRIu64 ",\"n\":%" PRIu64 "}",
           digest(numbers, count), numbers[0], count);
  free(numbers);
}

int main(void) {
  return stasis_serve(handle);
}
