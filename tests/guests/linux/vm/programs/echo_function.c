/* A function: answers each request with how many there were, and what it heard. State is on the
 * heap, in a file of /tmp, and in memory that is random before the first request. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

int main(void) {
  static char buffer[1 << 20];
  int device = open("/dev/stasis", O_RDWR);
  unsigned long drawn = 0;
  getrandom(&drawn, sizeof(drawn), 0);
  FILE* log = fopen(P_tmpdir "/log", "w+");
  if (device < 0 || log == NULL) {
    return 9;
  }
  for (int count = 1;; ++count) {
    const ssize_t bytes = read(device, buffer, sizeof(buffer) - 1);
    if (bytes < 0) {
      return 8;
    }
    buffer[bytes] = 0;
    buffer[strcspn(buffer, "\n")] = 0; /* The device ends a request with a line feed. */
    if (strcmp(buffer, "exit") == 0) {
      return 5;
    }
    unsigned long fresh = 0;
    getrandom(&fresh, sizeof(fresh), 0);
    fprintf(log, "%s\n", buffer);
    fflush(log);
    char* answer = malloc((size_t)bytes + 200);
    const int size = strcmp(buffer, "random") == 0
                         ? sprintf(answer, "%lx %lx", drawn, fresh)
                         : sprintf(answer, "%d %ld %s", count, ftell(log), buffer);
    if (write(device, answer, (size_t)size) != size) {
      return 7;
    }
    free(answer);
  }
}
