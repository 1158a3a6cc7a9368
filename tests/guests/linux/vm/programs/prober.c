/* Touches memory as the test asks, and says what happened. Freestanding. The test's kernel
 * (test_kernel.h) resumes a faulting access at r12 with rsp from r13 and the fault in rax,
 * if r14 is 0x7e57. */
typedef unsigned long u64;

enum { kWaitRequest = 5000, kRespond = 5001 };

struct probe {
  u64 operation; /* 0 read, 1 write, 2 execute, 3 out */
  u64 address;
  u64 value; /* What to write; then the result. */
};

static struct probe probes[4096];

static long call2(long number, void* a, long b) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
  return result;
}

static u64 attempt(struct probe* p) {
  u64 result;
  switch (p->operation) {
    case 0:
      __asm__ volatile("lea 1f(%%rip), %%r12\n mov %%rsp, %%r13\n mov $0x7e57, %%r14d\n movzbl (%1), %k0\n 1: xor %%r14d, %%r14d"
                       : "=&a"(result)
                       : "r"(p->address)
                       : "r12", "r13", "r14", "memory");
      return result;
    case 1:
      __asm__ volatile("lea 1f(%%rip), %%r12\n mov %%rsp, %%r13\n mov $0x7e57, %%r14d\n movb %b2, (%1)\n xor %k0, %k0\n 1: xor %%r14d, %%r14d"
                       : "=&a"(result)
                       : "r"(p->address), "r"(p->value)
                       : "r12", "r13", "r14", "memory");
      return result;
    case 3: /* OUT to port `address`. */
      __asm__ volatile("lea 1f(%%rip), %%r12\n mov %%rsp, %%r13\n mov $0x7e57, %%r14d\n out %%al, %%dx\n xor %k0, %k0\n 1: xor %%r14d, %%r14d"
                       : "=&a"(result)
                       : "d"(p->address)
                       : "r12", "r13", "r14", "memory");
      return result;
    default:
      __asm__ volatile("lea 1f(%%rip), %%r12\n mov %%rsp, %%r13\n mov $0x7e57, %%r14d\n call *%1\n xor %k0, %k0\n 1: xor %%r14d, %%r14d"
                       : "=&a"(result)
                       : "r"(p->address)
                       : "r12", "r13", "r14", "memory");
      return result;
  }
}

void _start(void) {
  for (;;) {
    long bytes = call2(kWaitRequest, probes, sizeof(probes));
    for (long i = 0; i < bytes / (long)sizeof(struct probe); ++i) {
      probes[i].value = attempt(&probes[i]);
    }
    call2(kRespond, probes, bytes);
  }
}
