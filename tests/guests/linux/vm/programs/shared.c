/* A function that maps a file of the tmpfs shared, several times, and looks at it from all sides.
 * Answers "ok", or which line found something wrong. The mappings live through saves and restores. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 40
#define CHECK(condition)  \
  do {                    \
    if (!(condition)) {   \
      return __LINE__;    \
    }                     \
  } while (0)

static int file, requests;
static volatile unsigned char *one, *two; /* The same file; `two` begins at its second page. */

static int set_up(void) {
  file = open("/dev/shm/shared", O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(file >= 0);
  CHECK(ftruncate(file, PAGES * PAGE) == 0);
  CHECK(pwrite(file, "before", 6, 0) == 6);
  one = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(one != MAP_FAILED && memcmp((const void*)one, "before", 6) == 0);
  two = mmap(NULL, (PAGES - 1) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, PAGE);
  CHECK(two != MAP_FAILED);
  return 0;
}

/* The same each time, with other values. */
static int use(void) {
  const unsigned char value = (unsigned char)(++requests * 7);
  unsigned char byte = 0;
  /* What the last request, and so perhaps another VM, has left. */
  CHECK(one[3 * PAGE + 5] == (unsigned char)((requests - 1) * 7));
  /* One mapping and the other, a read and a write. */
  one[3 * PAGE + 5] = value;
  CHECK(two[2 * PAGE + 5] == value);
  CHECK(pread(file, &byte, 1, 3 * PAGE + 5) == 1 && byte == value);
  two[9 * PAGE] = value;
  CHECK(one[10 * PAGE] == value);
  byte = value ^ 0xff;
  CHECK(pwrite(file, &byte, 1, 10 * PAGE) == 1 && one[10 * PAGE] == byte && two[9 * PAGE] == byte);
  CHECK(pwrite(file, &byte, 1, 20 * PAGE + 1) == 1 && one[20 * PAGE + 1] == byte);
  /* A private mapping has what there is when it first looks, and keeps its own. */
  volatile unsigned char* const own =
      mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 3 * PAGE);
  CHECK(own != MAP_FAILED && own[5] == value);
  own[5] = 1;
  CHECK(one[3 * PAGE + 5] == value && munmap((void*)own, PAGE) == 0);
  /* Forgotten and mapped again it is the same. */
  CHECK(madvise((void*)one, PAGES * PAGE, MADV_DONTNEED) == 0 && one[3 * PAGE + 5] == value);
  CHECK(munmap((void*)two, (PAGES - 1) * PAGE) == 0);
  CHECK(munmap((void*)one, PAGES * PAGE) == 0);
  CHECK(pread(file, &byte, 1, 3 * PAGE + 5) == 1 && byte == value);
  one = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  two = mmap(NULL, (PAGES - 1) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, PAGE);
  CHECK(one != MAP_FAILED && two != MAP_FAILED && two[2 * PAGE + 5] == value);
  /* Moved. */
  void* const place = mmap(NULL, (PAGES - 1) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  volatile unsigned char* const moved =
      mremap((void*)two, (PAGES - 1) * PAGE, (PAGES - 1) * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
             place);
  CHECK(moved != MAP_FAILED && moved[2 * PAGE + 5] == value);
  two = moved;
  one[7 * PAGE] = value;
  CHECK(two[6 * PAGE] == value);
  /* Cut off and grown again there are zeros, on all sides. */
  one[30 * PAGE + 100] = value;
  CHECK(ftruncate(file, 30 * PAGE + 50) == 0 && ftruncate(file, PAGES * PAGE) == 0);
  CHECK(one[30 * PAGE + 100] == 0 && two[29 * PAGE + 100] == 0);
  CHECK(pread(file, &byte, 1, 30 * PAGE + 100) == 1 && byte == 0);
  return 0;
}

static int refuse(void) {
  const int reader = open("/dev/shm/shared", O_RDONLY);
  CHECK(reader >= 0);
  CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED &&
        errno == EACCES);
  void* const shown = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
  CHECK(shown != MAP_FAILED);
  CHECK(mprotect(shown, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  CHECK(munmap(shown, PAGE) == 0 && close(reader) == 0);
  void* const later = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
  CHECK(later != MAP_FAILED && mprotect(later, PAGE, PROT_READ | PROT_WRITE) == 0);
  CHECK(munmap(later, PAGE) == 0);
  return 0;
}

int main(void) {
  char text[256];
  const int device = open("/dev/stasis", O_RDWR);
  const int failed = set_up();
  while (read(device, text, sizeof(text)) > 0) {
    int line = failed;
    line = line != 0 ? line : use();
    line = line != 0 ? line : refuse();
    const int size = line == 0 ? snprintf(text, sizeof(text), "ok %d", requests)
                               : snprintf(text, sizeof(text), "line %d, error %d", line, errno);
    if (write(device, text, (size_t)size) != size) {
      return 5;
    }
  }
  return 0;
}
