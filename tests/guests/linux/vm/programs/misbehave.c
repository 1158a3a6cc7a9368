#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "null") == 0) {
    *(volatile int*)8 = 1;
  } else if (strcmp(what, "divide") == 0) {
    __asm__ volatile("xor %%ecx, %%ecx\n div %%ecx" ::: "rax", "rcx", "rdx");
  } else if (strcmp(what, "illegal") == 0) {
    __asm__ volatile("ud2");
  } else if (strcmp(what, "privileged") == 0) {
    __asm__ volatile("cli");
  } else if (strcmp(what, "breakpoint") == 0) {
    __asm__ volatile("int3");
  } else if (strcmp(what, "noncanonical") == 0) {
    *(volatile int*)0x8000000000000000UL = 1;
  } else if (strcmp(what, "memory") == 0) {
    for (;;) {
      char* block = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block == MAP_FAILED) {
        return 2;
      }
      memset(block, 1, 1 << 20);
    }
  } else if (strcmp(what, "sleep") == 0) {
    write(1, "sleeping\n", 9);
    struct {
      long seconds, nanoseconds;
    } time = {0, 200000000};
    syscall(SYS_nanosleep, &time, 0);
    return 0;
  }
  return 3;
}
