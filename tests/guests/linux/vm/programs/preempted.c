/* Threads that compute and make no system call, and timers that interrupt them. The argument says
 * what to do; the exit code is 0 if everything was as it should be. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 3

static volatile int flag, stop, handled, failed;

/* ---- Registers ---- */

/* In the order in which the assembly below has them. */
struct Registers {
  uint64_t general[13]; /* rax rbx rcx rdx rsi rdi r8 r9 r10 r11 r12 r13 r14 */
  uint64_t flags;       /* CF, DF, AC and ID; NT, which means nothing here, is not kept */
  uint64_t red_zone[15];
  uint64_t gs_base;
  uint32_t mxcsr;
  uint16_t control, unused;
  uint8_t x87[16]; /* st0 */
  uint8_t vectors[32 * 64];
  uint64_t masks[8];
};

/* How wide the vector registers are. */
enum { SSE = 0, AVX = 1, AVX512 = 2 };

/* Loads all of `in` into the registers, counts `rounds` down, and stores the registers to `out`. */
void hold_registers(const struct Registers* in, struct Registers* out, uint64_t rounds, int width);

#define OFFSET(field) __builtin_offsetof(struct Registers, field)
_Static_assert(OFFSET(flags) == 104 && OFFSET(red_zone) == 112 && OFFSET(gs_base) == 232 &&
                   OFFSET(mxcsr) == 240 && OFFSET(control) == 244 && OFFSET(x87) == 248 &&
                   OFFSET(vectors) == 264 && OFFSET(masks) == 2312,
               "the assembly knows them as numbers");

__asm__(
    ".text\n"
    ".globl hold_registers\n"
    ".type hold_registers, @function\n"
    "hold_registers:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  push %rsi\n"            /* out */
    "  push %rcx\n"            /* width */
    "  mov %rdi, %rbp\n"
    "  mov %rdx, %r15\n"
    "  rdgsbase %rax\n  push %rax\n"
    "  mov 232(%rbp), %rax\n  wrgsbase %rax\n"
    "  ldmxcsr 240(%rbp)\n"
    "  fninit\n  fldcw 244(%rbp)\n  fldt 248(%rbp)\n"
    "  cmp $1, %ecx\n  je 1f\n  ja 2f\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  movups 264+64*\\i(%rbp), %xmm\\i\n"
    ".endr\n"
    "  jmp 3f\n"
    "1:\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  vmovups 264+64*\\i(%rbp), %ymm\\i\n"
    ".endr\n"
    "  jmp 3f\n"
    "2:\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "  vmovups 264+64*\\i(%rbp), %zmm\\i\n"
    ".endr\n"
    ".irp i,1,2,3,4,5,6,7\n"
    "  kmovq 2312+8*\\i(%rbp), %k\\i\n"
    ".endr\n"
    "3:\n"
    /* The red zone, but for its first word, which PUSHF below uses. */
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n"
    "  mov 112+8*\\i(%rbp), %rax\n  mov %rax, -128+8*\\i(%rsp)\n"
    ".endr\n"
    "  pushfq\n  pop %rax\n  and $~0x240401, %rax\n  or 104(%rbp), %rax\n  push %rax\n  popfq\n"
    "  mov 0(%rbp), %rax\n  mov 8(%rbp), %rbx\n  mov 16(%rbp), %rcx\n  mov 24(%rbp), %rdx\n"
    "  mov 32(%rbp), %rsi\n  mov 40(%rbp), %rdi\n  mov 48(%rbp), %r8\n  mov 56(%rbp), %r9\n"
    "  mov 64(%rbp), %r10\n  mov 72(%rbp), %r11\n  mov 80(%rbp), %r12\n  mov 88(%rbp), %r13\n"
    "  mov 96(%rbp), %r14\n"
    "4:\n  dec %r15\n  jnz 4b\n" /* CF stays. */
    "  mov 16(%rsp), %r15\n"     /* out; no flag has changed */
    "  mov %rax, 0(%r15)\n  mov %rbx, 8(%r15)\n  mov %rcx, 16(%r15)\n  mov %rdx, 24(%r15)\n"
    "  mov %rsi, 32(%r15)\n  mov %rdi, 40(%r15)\n  mov %r8, 48(%r15)\n  mov %r9, 56(%r15)\n"
    "  mov %r10, 64(%r15)\n  mov %r11, 72(%r15)\n  mov %r12, 80(%r15)\n  mov %r13, 88(%r15)\n"
    "  mov %r14, 96(%r15)\n"
    "  pushfq\n  pop %rax\n  cld\n"
    "  push $2\n  popfq\n" /* AC is nothing for the rest of the program. */
    "  and $0x240401, %eax\n  mov %rax, 104(%r15)\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n"
    "  mov -128+8*\\i(%rsp), %rax\n  mov %rax, 112+8*\\i(%r15)\n"
    ".endr\n"
    "  rdgsbase %rax\n  mov %rax, 232(%r15)\n"
    "  pop %rax\n  wrgsbase %rax\n"
    "  stmxcsr 240(%r15)\n  fnstcw 244(%r15)\n  fstpt 248(%r15)\n  fninit\n"
    "  pop %rcx\n"
    "  cmp $1, %ecx\n  je 1f\n  ja 2f\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  movups %xmm\\i, 264+64*\\i(%r15)\n"
    ".endr\n"
    "  jmp 3f\n"
    "1:\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  vmovups %ymm\\i, 264+64*\\i(%r15)\n"
    ".endr\n"
    "  vzeroupper\n"
    "  jmp 3f\n"
    "2:\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "  vmovups %zmm\\i, 264+64*\\i(%r15)\n"
    ".endr\n"
    ".irp i,1,2,3,4,5,6,7\n"
    "  kmovq %k\\i, 2312+8*\\i(%r15)\n"
    ".endr\n"
    "  vzeroupper\n"
    "3:\n"
    "  push $0x1f80\n  ldmxcsr (%rsp)\n  pop %rax\n"
    "  pop %rsi\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    ".size hold_registers, .-hold_registers\n");

static int vector_width(void) {
  if (__builtin_cpu_supports("avx512bw")) {
    return AVX512;
  }
  return __builtin_cpu_supports("avx") ? AVX : SSE;
}

static const size_t vector_bytes[] = {16, 32, 64};
static const int vector_count[] = {16, 16, 32};

static uint64_t next_random(uint64_t* state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return *state ^ (*state >> 29);
}

static void fill(struct Registers* in, int width, uint64_t* random) {
  memset(in, 0, sizeof(*in));
  for (int i = 0; i < 13; ++i) {
    in->general[i] = next_random(random);
  }
  in->flags = next_random(random) & 0x240401;
  for (int i = 0; i < 15; ++i) {
    in->red_zone[i] = next_random(random);
  }
  in->gs_base = next_random(random) & 0x7fffffff0000;
  in->mxcsr = 0x1f80 | (uint32_t)(next_random(random) & 3) << 13;
  in->control = (uint16_t)(0x37f | (next_random(random) & 3) << 10);
  const long double value = (long double)(next_random(random) >> 1);
  memcpy(in->x87, &value, 10);
  for (int i = 0; i < vector_count[width]; ++i) {
    for (size_t at = 0; at < vector_bytes[width]; at += 8) {
      const uint64_t word = next_random(random);
      memcpy(in->vectors + 64 * i + at, &word, 8);
    }
  }
  for (int i = 1; width == AVX512 && i < 8; ++i) {
    in->masks[i] = next_random(random);
  }
}

static __thread uint64_t own_number;
static volatile uint64_t held[WORKERS];

static void* hold_until_stopped(void* argument) {
  const uint64_t number = (uint64_t)(uintptr_t)argument;
  uint64_t random = number * 77 + 1;
  const int width = vector_width();
  own_number = number;
  uintptr_t wrong = 0;
  while (!stop && wrong == 0) {
    static __thread struct Registers in, out;
    fill(&in, width, &random);
    memset(&out, 0, sizeof(out));
    hold_registers(&in, &out, 200000, width);
    wrong = (uintptr_t)(memcmp(in.general, out.general, sizeof(in.general)) != 0) |
            (uintptr_t)(in.flags != out.flags) << 1 |
            (uintptr_t)(memcmp(in.red_zone, out.red_zone, sizeof(in.red_zone)) != 0) << 2 |
            (uintptr_t)(in.gs_base != out.gs_base) << 3 |
            (uintptr_t)(in.mxcsr != out.mxcsr || in.control != out.control) << 4 |
            (uintptr_t)(memcmp(in.x87, out.x87, 10) != 0) << 5 |
            (uintptr_t)(memcmp(in.vectors, out.vectors, sizeof(in.vectors)) != 0 ||
                        memcmp(in.masks, out.masks, sizeof(in.masks)) != 0) << 6 |
            (uintptr_t)(own_number != number) << 7;
    if (wrong != 0) {
      failed = 1;
      fprintf(stderr, "thread %d: %lx; flags %lx instead of %lx\n", (int)number, (long)wrong,
              (long)out.flags, (long)in.flags);
    }
    ++held[number];
  }
  return (void*)wrong;
}

static pthread_t workers[WORKERS];

static void start_workers(void) {
  for (uintptr_t i = 0; i < WORKERS; ++i) {
    pthread_create(&workers[i], NULL, hold_until_stopped, (void*)i);
  }
}

static int join_workers(void) {
  uintptr_t wrong = 0;
  stop = 1;
  for (int i = 0; i < WORKERS; ++i) {
    void* result = NULL;
    pthread_join(workers[i], &result);
    wrong |= (uintptr_t)result;
  }
  return (int)wrong;
}

/* Each sleep of the main thread takes the vCPU away from one of the others, twice. */
static int registers(int sleeps) {
  start_workers();
  for (int i = 0; i < sleeps; ++i) {
    const struct timespec time = {0, 100000};
    nanosleep(&time, NULL);
  }
  return join_workers();
}

/* ---- Others ---- */

static void* set_flag(void* argument) {
  flag = 1;
  return argument;
}

static int spin(void) {
  pthread_t other;
  pthread_create(&other, NULL, set_flag, NULL);
  while (!flag) {
  }
  return pthread_join(other, NULL);
}

static void count(int signal) {
  (void)signal;
  ++handled;
}

static void compute_until(int signals) {
  volatile double sum = 0;
  while (handled < signals) {
    sum = sum + 1.0;
  }
}

static int interval_timer(int which, int signal) {
  signal == 0 ? (void)0 : (void)sigaction(signal, &(struct sigaction){.sa_handler = count}, NULL);
  const struct itimerval timer = {{0, 3000}, {0, 3000}};
  if (setitimer(which, &timer, NULL) != 0) {
    return 2;
  }
  compute_until(5);
  struct itimerval left;
  const struct itimerval none = {{0, 0}, {0, 0}};
  setitimer(which, &none, &left);
  return left.it_interval.tv_usec == 3000 ? 0 : 3;
}

static int posix_timer(void) {
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = count}, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    return 2;
  }
  const struct itimerspec time = {{0, 3000000}, {0, 3000000}};
  timer_settime(timer, 0, &time, NULL);
  compute_until(5);
  return timer_delete(timer) == 0 ? 0 : 3;
}

static void notified(union sigval value) {
  handled += value.sival_int;
}

static int notifying_timer(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD,
                           .sigev_notify_function = notified,
                           .sigev_value = {.sival_int = 7}};
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    return 2;
  }
  const struct itimerspec time = {{0, 0}, {0, 2000000}};
  timer_settime(timer, 0, &time, NULL);
  compute_until(7);
  return 0;
}

static int compute(void) {
  volatile uint64_t sum = 0;
  for (uint64_t i = 0; i < 100000000; ++i) {
    sum = sum + i;
  }
  return sum == 4999999950000000U ? 0 : 4;
}

/* Answers how far the computing threads have come since the last request, and whether one of them
 * has found a wrong register. */
static int serve(void) {
  start_workers();
  const int device = open("/dev/stasis", O_RDWR);
  uint64_t before[WORKERS] = {0};
  char text[256];
  for (;;) {
    const ssize_t size = read(device, text, sizeof(text) - 1);
    if (size <= 0 || strncmp(text, "end", 3) == 0) {
      return join_workers();
    }
    int advanced = 0;
    for (int i = 0; i < WORKERS; ++i) {
      while (held[i] < before[i] + 2 && !failed) { /* Without a system call. */
      }
      advanced += held[i] > before[i];
      before[i] = held[i];
    }
    const int length = snprintf(text, sizeof(text), "%d advanced", advanced);
    write(device, text, (size_t)length);
  }
}

/* Adds up on all threads; the sum does not depend on who ran when. */
static uint64_t limit, sums[WORKERS];

static void* add_up(void* argument) {
  const uint64_t number = (uint64_t)(uintptr_t)argument;
  uint64_t sum = 0;
  for (uint64_t i = number; i < limit; i += WORKERS) {
    sum = sum * 31 + i;
  }
  sums[number] = sum;
  return NULL;
}

static int sum_up(const char* count) {
  limit = strtoull(count, NULL, 10);
  for (uintptr_t i = 0; i < WORKERS; ++i) {
    pthread_create(&workers[i], NULL, add_up, (void*)i);
  }
  uint64_t all = 0;
  for (int i = 0; i < WORKERS; ++i) {
    pthread_join(workers[i], NULL);
    all = all * 1000003 + sums[i];
  }
  printf("sum %llx\n", (unsigned long long)all);
  return 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "registers") == 0) {
    return registers(argc > 2 ? atoi(argv[2]) : 100);
  }
  if (strcmp(what, "spin") == 0) {
    return spin();
  }
  if (strcmp(what, "real") == 0) {
    return interval_timer(ITIMER_REAL, SIGALRM);
  }
  if (strcmp(what, "virtual") == 0) {
    return interval_timer(ITIMER_VIRTUAL, SIGVTALRM);
  }
  if (strcmp(what, "prof") == 0) {
    return interval_timer(ITIMER_PROF, SIGPROF);
  }
  if (strcmp(what, "posix") == 0) {
    return posix_timer();
  }
  if (strcmp(what, "notify") == 0) {
    return notifying_timer();
  }
  if (strcmp(what, "compute") == 0) {
    return compute();
  }
  if (strcmp(what, "serve") == 0) {
    return serve();
  }
  if (strcmp(what, "sum") == 0 && argc > 2) {
    return sum_up(argv[2]);
  }
  return 99;
}
