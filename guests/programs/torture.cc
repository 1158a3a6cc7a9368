// torture: holds patterns in every register, in memory, on the stacks and in counters shared
// between vCPUs, lets the host save and restore it, and looks whether everything is still there.
//
// Arguments: checkpoints=8, memory=8 (MiB, all vCPUs together), seed=1. Runs with 1 to 32 vCPUs.
// Rings kReady once, then kCheckpoint 1, 2, ..., then exits with code 0; with code 1 and a message
// "torture: FAILED: ..." as soon as anything is not as it was. Its console output depends on the
// arguments and the number of vCPUs alone, so two continuations of one snapshot print the same.
//
// A round on each vCPU: check and rewrite its memory, compute in floating point and compare with
// the first time, add to the shared counters, and then wait for the others *with all registers full
// of patterns at the bottom of a deep recursion*. When all wait, vCPU 0 rings the checkpoint in the
// same manner: whatever a snapshot loses, the next instructions notice.
#include "guests/programs/torture_registers.h"
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;
namespace abi = stasis::abi;
namespace torture = guest::torture;

namespace {

constexpr std::uint64_t kAdditions = 20'000;  // A vCPU and round, to each shared counter.
constexpr int kRecursionDepth = 40;
constexpr std::size_t kFrameWords = 64;

struct Options {
  std::uint64_t checkpoints = 8, memory = 8, seed = 1;
  std::uint32_t vcpus = 1;
  torture::VectorLevel level = torture::VectorLevel::kSse;
} g_options;

// One a vCPU; written by that vCPU, read by vCPU 0 when all have arrived.
struct alignas(64) Own {
  std::uint64_t* words = nullptr;
  std::uint64_t word_count = 0;
  std::uint64_t memory_hash = 0;
  std::uint64_t floating = 0;  // Bits of the result of round 1.
  std::uint64_t rings = 0;     // Seeds the register patterns.
  torture::RegisterState in, out;
} g_own[abi::kVcpusMax];

// Shared by all vCPUs.
struct alignas(64) Shared {
  std::uint64_t added = 0;      // By fetch-and-add.
  std::uint64_t exchanged = 0;  // By compare-and-swap.
  std::uint64_t locked = 0;     // Plain, under `lock`.
  bool lock = false;
  std::uint64_t arrivals = 0;    // vCPUs that have finished a round, all rounds together.
  std::uint64_t round_open = 1;  // vCPUs may work on this round.
} g_shared;

template <typename... Values>
[[noreturn, gnu::noinline, gnu::cold]] void fail(guest::Text format, Values... values) {
  char buffer[512];
  guest::Writer out(buffer, sizeof(buffer));
  out.put("torture: FAILED: ").format(format, values...).put('\n');
  guest::print_text(out.text());
  guest::exit(1);
}

// ---- Memory ----

std::uint64_t pattern(std::uint32_t vcpu, std::uint64_t index, std::uint64_t round) {
  return guest::mix(index + (round << 40) + (std::uint64_t{vcpu} << 56) + g_options.seed);
}

void write_memory(std::uint32_t vcpu, std::uint64_t round) {
  Own& own = g_own[vcpu];
  for (std::uint64_t i = 0; i < own.word_count; ++i) {
    own.words[i] = pattern(vcpu, i, round);
  }
  own.memory_hash = guest::Xxh64::hash(own.words, own.word_count * 8);
}

void check_memory(std::uint32_t vcpu, std::uint64_t round) {
  const Own& own = g_own[vcpu];
  for (std::uint64_t i = 0; i < own.word_count; ++i) {
    if (own.words[i] != pattern(vcpu, i, round)) {
      fail("vCPU {}: memory at {} holds {}, not {} of round {}", vcpu,
           guest::Hex{reinterpret_cast<std::uint64_t>(&own.words[i])}, guest::Hex{own.words[i]},
           guest::Hex{pattern(vcpu, i, round)}, round);
    }
  }
}

// ---- Floating point ----

// A chaotic recurrence: one wrong bit anywhere changes the result completely.
std::uint64_t compute_floating(std::uint32_t vcpu) {
  double x = 0.3 + 0.01 * static_cast<double>(vcpu);
  float lanes[8] = {};
  for (int i = 0; i < 20'000; ++i) {
    x = 3.99 * x * (1.0 - x);
    lanes[i % 8] = lanes[i % 8] * 0.5F + static_cast<float>(x);
  }
  for (const float lane : lanes) {
    x += static_cast<double>(lane);
  }
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits;
}

void check_floating(std::uint32_t vcpu, std::uint64_t round) {
  const std::uint64_t result = compute_floating(vcpu);
  if (round == 1) {
    g_own[vcpu].floating = result;
  } else if (result != g_own[vcpu].floating) {
    fail("vCPU {}: floating point gives {}, not {} as in round 1", vcpu, guest::Hex{result},
         guest::Hex{g_own[vcpu].floating});
  }
}

// ---- Shared counters ----

void add_to_counters() {
  for (std::uint64_t i = 0; i < kAdditions; ++i) {
    __atomic_fetch_add(&g_shared.added, 1, __ATOMIC_RELAXED);
    std::uint64_t seen = __atomic_load_n(&g_shared.exchanged, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&g_shared.exchanged, &seen, seen + 1, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    if (i % 16 == 0) {
      while (__atomic_test_and_set(&g_shared.lock, __ATOMIC_ACQUIRE)) {
        guest::relax();
      }
      g_shared.locked += 16;
      __atomic_clear(&g_shared.lock, __ATOMIC_RELEASE);
    }
  }
}

void check_counters(std::uint64_t round) {
  const std::uint64_t expected = kAdditions * round * g_options.vcpus;
  if (g_shared.added != expected || g_shared.exchanged != expected || g_shared.locked != expected) {
    fail("round {}: the shared counters are {}, {} and {}, not {}", round, g_shared.added,
         g_shared.exchanged, g_shared.locked, expected);
  }
}

// ---- Registers and stack ----

// Rings with all registers full, and checks them afterwards.
void ring_full(std::uint32_t vcpu, abi::Register reg, std::uint32_t value) {
  Own& own = g_own[vcpu];
  ++own.rings;
  const std::uint64_t seed = guest::mix(g_options.seed + own.rings) + vcpu;
  torture::make_registers(own.in, seed, g_options.level, reg, value);
  torture::torture_ring(&own.in, &own.out);
  if (vcpu == 0) {
    guest::mailbox().header.resumed_counter = guest::counter();
  }
  char buffer[128];
  guest::Writer what(buffer, sizeof(buffer));
  if (torture::find_difference(own.in, own.out, what)) {
    fail("vCPU {}: after doorbell {}: {}", vcpu, static_cast<std::uint32_t>(reg), what.text());
  }
}

// As ring_full(), at the bottom of a recursion whose frames are checked on the way back.
__attribute__((noinline)) void ring_deep(std::uint32_t vcpu, int depth, abi::Register reg,
                                         std::uint32_t value) {
  volatile std::uint64_t frame[kFrameWords];
  for (std::size_t i = 0; i < kFrameWords; ++i) {
    frame[i] = guest::mix(i + static_cast<std::uint64_t>(depth) * kFrameWords + vcpu);
  }
  if (depth == 0) {
    ring_full(vcpu, reg, value);
  } else {
    ring_deep(vcpu, depth - 1, reg, value);
  }
  for (std::size_t i = 0; i < kFrameWords; ++i) {
    if (frame[i] != guest::mix(i + static_cast<std::uint64_t>(depth) * kFrameWords + vcpu)) {
      fail("vCPU {}: the stack frame at depth {} has changed", vcpu, depth);
    }
  }
}

// ---- Rounds ----

void work(std::uint32_t vcpu, std::uint64_t round) {
  check_memory(vcpu, round - 1);
  write_memory(vcpu, round);
  check_floating(vcpu, round);
  add_to_counters();
}

// On vCPU 0, when all others wait.
void finish_round(std::uint64_t round) {
  check_counters(round);
  ring_deep(0, kRecursionDepth, abi::Register::kCheckpoint, static_cast<std::uint32_t>(round));
  check_counters(round);
  std::uint64_t hash = guest::mix(round + g_shared.added);
  for (std::uint32_t vcpu = 0; vcpu < g_options.vcpus; ++vcpu) {
    check_memory(vcpu, round);
    hash = guest::mix(hash ^ g_own[vcpu].memory_hash) + g_own[vcpu].floating;
  }
  guest::print("torture: round {} of {} passed, hash {}\n", round, g_options.checkpoints,
               guest::Hex{hash});
}

void run_first() {
  for (std::uint64_t round = 1; round <= g_options.checkpoints; ++round) {
    work(0, round);
    __atomic_fetch_add(&g_shared.arrivals, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&g_shared.arrivals, __ATOMIC_SEQ_CST) < round * g_options.vcpus) {
      ring_deep(0, kRecursionDepth, abi::Register::kPark, 0);
    }
    finish_round(round);
    __atomic_store_n(&g_shared.round_open, round + 1, __ATOMIC_SEQ_CST);
    for (std::uint32_t vcpu = 1; vcpu < g_options.vcpus; ++vcpu) {
      guest::wake(vcpu);
    }
  }
}

void run_other(std::uint32_t vcpu) {
  for (std::uint64_t round = 1; round <= g_options.checkpoints; ++round) {
    work(vcpu, round);
    __atomic_fetch_add(&g_shared.arrivals, 1, __ATOMIC_SEQ_CST);
    guest::wake(0);
    while (__atomic_load_n(&g_shared.round_open, __ATOMIC_SEQ_CST) <= round) {
      ring_deep(vcpu, kRecursionDepth, abi::Register::kPark, 0);
    }
  }
}

void start() {
  if (!guest::number_option(guest::arguments(), "checkpoints", g_options.checkpoints) ||
      !guest::number_option(guest::arguments(), "memory", g_options.memory) ||
      !guest::number_option(guest::arguments(), "seed", g_options.seed) || g_options.memory == 0 ||
      g_options.memory > guest::free_bytes() / abi::kMiB || g_options.checkpoints > UINT32_MAX) {
    guest::panic("arguments: checkpoints=N memory=MIB seed=N, not '{}', with {} MiB free",
                 guest::arguments(), guest::free_bytes() / abi::kMiB);
  }
  g_options.vcpus = guest::boot_info().vcpu_count;
  const std::uint64_t flags = guest::boot_info().cpu_flags;
  g_options.level = (flags & abi::kCpuAvx512) != 0 ? torture::VectorLevel::kAvx512
                    : (flags & abi::kCpuAvx) != 0  ? torture::VectorLevel::kAvx
                                                   : torture::VectorLevel::kSse;
  for (std::uint32_t vcpu = 0; vcpu < g_options.vcpus; ++vcpu) {
    g_own[vcpu].word_count = g_options.memory * abi::kMiB / g_options.vcpus / 8;
    g_own[vcpu].words =
        static_cast<std::uint64_t*>(guest::allocate(g_own[vcpu].word_count * 8, 4096));
    write_memory(vcpu, 0);
  }
  constexpr const char* kLevels[] = {"SSE", "AVX", "AVX-512"};
  guest::print("torture: {} vCPU(s), {} MiB, registers up to {}, {} checkpoints\n", g_options.vcpus,
               g_options.memory, kLevels[static_cast<int>(g_options.level)], g_options.checkpoints);
}

}  // namespace

void guest_main(std::uint32_t vcpu) {
  if (vcpu != 0) {
    run_other(vcpu);
    return;
  }
  start();
  guest::ready();
  guest::start_other_vcpus();
  run_first();
  guest::print("torture: passed\n");
  guest::exit(0);
}
