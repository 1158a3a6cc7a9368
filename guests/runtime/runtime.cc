#include "guests/runtime/guest.h"

namespace stasis::guest {
namespace {

constexpr std::size_t kProofBlockBytes = 256 * abi::kKiB;

const abi::BootInfo* g_boot_info = nullptr;
bool g_others_may_start = false;
bool g_console_busy = false;

// The part of the heap that is in use: [begin, next) of each range up to `range`.
struct Heap {
  std::uint32_t range = 0;
  std::uint64_t next[2] = {};
} g_heap;

struct Proof {
  std::uint8_t nonce[16] = {};
  std::uint64_t counter = 0;
} g_proof;

class ConsoleLock {
 public:
  ConsoleLock() {
    while (__atomic_test_and_set(&g_console_busy, __ATOMIC_ACQUIRE)) {
      relax();
    }
  }
  ~ConsoleLock() { __atomic_clear(&g_console_busy, __ATOMIC_RELEASE); }
  ConsoleLock(const ConsoleLock&) = delete;
  ConsoleLock& operator=(const ConsoleLock&) = delete;
};

// Rings, and stores the counter before anything else: the host's "first instruction".
void ring_and_stamp(abi::Register reg, std::uint32_t value) {
  const std::uint64_t now = ring_and_count(reg, value);
  mailbox().header.resumed_counter = now;
}

std::uint32_t to_console(Text text) {
  const std::size_t size =
      text.size < abi::kConsoleBytesMax ? text.size : std::size_t{abi::kConsoleBytesMax};
  __builtin_memcpy(mailbox().console, text.data, size);
  return static_cast<std::uint32_t>(size);
}

std::uint64_t heap_hash() {
  std::uint64_t hash = 0;
  for (std::uint32_t i = 0; i <= g_heap.range; ++i) {
    const std::uint64_t begin = g_boot_info->heap[i].begin;
    hash = Xxh64::hash(reinterpret_cast<const void*>(begin), g_heap.next[i] - begin, hash);
  }
  return hash;
}

void put_hex(Writer& out, const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    out.put(Hex{bytes[i], 2});
  }
}

void answer_builtin(Text request, Writer& out) {
  if (request == "@ping") {
    out.put("pong");
    return;
  }
  const bool prove = request == "@prove";
  if (!prove && request != "@id") {
    out.put("error unknown built-in request; there are @ping, @id, @prove");
    return;
  }
  const Generation current = generation();
  if (prove) {
    out.put("nonce=");
    put_hex(out, g_proof.nonce, sizeof(g_proof.nonce));
    out.format(" counter={} hash={}", g_proof.counter, Hex{heap_hash()});
  } else {
    out.put("generation=");
    put_hex(out, current.id, sizeof(current.id));
  }
  out.format(" restores={}", current.restore_count);
}

void start_proof() {
  fill_random(g_proof.nonce, sizeof(g_proof.nonce));
  auto* block = static_cast<std::uint64_t*>(allocate(kProofBlockBytes, 4096));
  Random random(Xxh64::hash(g_proof.nonce, sizeof(g_proof.nonce)));
  for (std::size_t i = 0; i < kProofBlockBytes / sizeof(*block); ++i) {
    block[i] = random.next();
  }
}

using Constructor = void (*)();
extern "C" Constructor stasis_init_begin[], stasis_init_end[];  // guest.ld

void start_first_vcpu(const abi::BootInfo* info) {
  if (info->magic != abi::kMagic || info->version >> 16 != abi::kVersionMajor) {
    panic("this guest needs ABI version {}", std::uint32_t{abi::kVersionMajor});
  }
  g_boot_info = info;
  g_heap.next[0] = info->heap[0].begin;
  g_heap.next[1] = info->heap[1].begin;
  for (Constructor* constructor = stasis_init_begin; constructor != stasis_init_end;
       ++constructor) {
    (*constructor)();
  }
  start_proof();
}

}  // namespace

const abi::BootInfo& boot_info() {
  return *g_boot_info;
}

Text arguments() {
  return Text(g_boot_info->arguments, g_boot_info->argument_bytes);
}

void print_text(Text text) {
  const ConsoleLock lock;
  ring(abi::Register::kConsole, to_console(text));
}

void exit(std::uint32_t code) {
  for (;;) {
    ring(abi::Register::kExit, code);
  }
}

void panic_text(Text text) {
  const ConsoleLock lock;  // Never released: nothing is printed after a panic.
  const std::uint32_t size = to_console(text.empty() ? Text("panic") : text);
  for (;;) {
    ring(abi::Register::kPanic, size);
  }
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  for (;; ++g_heap.range) {
    const std::uint64_t begin = (g_heap.next[g_heap.range] + alignment - 1) & ~(alignment - 1);
    const std::uint64_t end = g_boot_info->heap[g_heap.range].end;
    if (begin <= end && bytes <= end - begin) {
      g_heap.next[g_heap.range] = begin + bytes;
      return reinterpret_cast<void*>(begin);
    }
    if (g_heap.range == 1) {
      panic("out of memory: {} bytes wanted; give the guest more memory", bytes);
    }
  }
}

std::size_t free_bytes() {
  std::size_t most = 0;
  for (std::uint32_t i = g_heap.range; i < 2; ++i) {
    const std::size_t free = g_boot_info->heap[i].end - g_heap.next[i];
    most = free > most ? free : most;
  }
  return most;
}

void fill_random(void* out, std::size_t bytes) {
  auto* at = static_cast<unsigned char*>(out);
  while (bytes > 0) {
    ring(abi::Register::kRandom, 0);
    const std::size_t part = bytes < abi::kRandomBytes ? bytes : std::size_t{abi::kRandomBytes};
    __builtin_memcpy(at, mailbox().header.random, part);
    at += part;
    bytes -= part;
  }
}

Generation generation() {
  ring(abi::Register::kGeneration, 0);
  Generation result{};
  __builtin_memcpy(result.id, mailbox().header.generation, sizeof(result.id));
  result.restore_count = mailbox().header.restore_count;
  return result;
}

std::uint64_t counter_khz() {
  static std::uint64_t khz = g_boot_info->counter_khz;
  if (khz == 0) {
    constexpr std::int64_t kMeasureNs = 10'000'000;
    const auto host_ns = [] {
      ring(abi::Register::kClock, 0);
      return mailbox().header.monotonic_ns;
    };
    const std::int64_t begin_ns = host_ns();
    const std::uint64_t begin = counter();
    std::int64_t elapsed_ns = 0;
    while ((elapsed_ns = host_ns() - begin_ns) < kMeasureNs) {
    }
    khz = (counter() - begin) * 1'000'000 / static_cast<std::uint64_t>(elapsed_ns);
  }
  return khz;
}

void ready() {
  ring_and_stamp(abi::Register::kReady, 0);
}

void checkpoint(std::uint32_t number) {
  ring_and_stamp(abi::Register::kCheckpoint, number);
}

void start_other_vcpus() {
  if (__atomic_exchange_n(&g_others_may_start, true, __ATOMIC_SEQ_CST)) {
    return;
  }
  for (std::uint32_t vcpu = 1; vcpu < g_boot_info->vcpu_count; ++vcpu) {
    wake(vcpu);
  }
}

void serve(Handler handler) {
  start_other_vcpus();
  abi::Mailbox& box = mailbox();
  ready();
  for (;;) {
    std::uint64_t seq = 0;
    while ((seq = __atomic_load_n(&box.header.request_seq, __ATOMIC_ACQUIRE)) ==
           box.header.response_seq) {
      ring_and_stamp(abi::Register::kWait, 0);
    }
    ++g_proof.counter;
    const Text request(reinterpret_cast<const char*>(box.request), box.header.request_bytes);
    Writer response(reinterpret_cast<char*>(box.response), sizeof(box.response));
    if (request.starts_with("@")) {
      answer_builtin(request, response);
    } else {
      handler(request, response);
    }
    box.header.response_seq = seq;
    ring_and_stamp(abi::Register::kRespond, static_cast<std::uint32_t>(response.size()));
  }
}

// The ELF entry point: the loader "calls" it on every vCPU.
extern "C" void stasis_guest_start(const abi::BootInfo* info, std::uint64_t vcpu) {
  if (vcpu == 0) {
    start_first_vcpu(info);
    guest_main(0);
    exit(0);
  }
  while (!__atomic_load_n(&g_others_may_start, __ATOMIC_SEQ_CST)) {
    park();
  }
  guest_main(static_cast<std::uint32_t>(vcpu));
  for (;;) {
    park();
  }
}

}  // namespace stasis::guest
