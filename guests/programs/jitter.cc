// jitter: says for how long the host has kept it from running, as it saw it itself.
//
// Every vCPU but the first reads its time-stamp counter in a loop; what lies between two readings
// beyond a loop's own time is the host's. On the way it writes to its memory, if asked to, and
// times each write by itself: a write may wait for the host, too.
//
// Arguments: fill=MIB of RAM given contents before kReady (default: half of what is free). Needs
// two vCPUs. Requests, with their defaults:
//
//   measure write=0 pace=0   begins anew; the vCPUs write to one page after the other of the first
//                            `write` MiB of that memory, one every `pace` ns       -> ok
//   report                   -> ok vcpus=<n> khz=<n> readings=<n> writes=<n> longest_gap_ns=<n>
//                               longest_write_ns=<n> gaps=<histogram> write_times=<histogram>
//       a histogram is <power of two, ns>:<count>,... of what took so long but not twice as long,
//       from 1024 ns up; the longest of all vCPUs
//   dirty MIB seed=1         writes a word to each page of the first MIB MiB       -> ok pages=<n>
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;
namespace abi = stasis::abi;
using guest::Text;
using guest::Words;
using guest::Writer;

namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kBlockBytes = abi::kMemoryUnitBytes;
constexpr std::uint64_t kPagesPerBlock = kBlockBytes / kPageBytes;
constexpr std::uint64_t kPagesPerMib = abi::kMiB / kPageBytes;
constexpr std::uint64_t kBlocksMax = std::uint64_t{64} * abi::kGiB / kBlockBytes;
constexpr int kBuckets = 40;
constexpr int kFirstBucket = 10;  // 1024 ns.

// Filled before kReady, constant afterwards.
std::uint8_t* g_blocks[kBlocksMax];
std::uint64_t g_block_count = 0;
std::uint64_t g_khz = 1;

// What vCPU 0 wants. Written before `epoch`, which tells the others.
struct Wanted {
  std::uint64_t pages = 0, pace_ns = 0;
  std::uint64_t epoch = 0;
} g_wanted;

struct Times {
  std::uint64_t count = 0, longest = 0;  // Cycles.
  std::uint64_t buckets[kBuckets] = {};
};

// Written by its vCPU, read by vCPU 0.
struct alignas(64) Seen {
  std::uint64_t epoch = 0;
  Times gaps, writes;
} g_seen[abi::kVcpusMax];

template <typename T>
T load(const T& value) {
  return __atomic_load_n(&value, __ATOMIC_ACQUIRE);
}
template <typename T>
void store(T& place, T value) {
  __atomic_store_n(&place, value, __ATOMIC_RELEASE);
}

std::uint64_t to_ns(std::uint64_t cycles) {
  return cycles / g_khz * 1'000'000 + cycles % g_khz * 1'000'000 / g_khz;
}
std::uint64_t to_cycles(std::uint64_t ns) {
  return ns / 1'000'000 * g_khz + ns % 1'000'000 * g_khz / 1'000'000;
}

volatile std::uint64_t* word_of(std::uint64_t page) {
  std::uint8_t* const at = g_blocks[page / kPagesPerBlock] + page % kPagesPerBlock * kPageBytes;
  return reinterpret_cast<volatile std::uint64_t*>(at);
}

void record(Times& times, std::uint64_t cycles) {
  store(times.count, times.count + 1);
  if (cycles > times.longest) {
    store(times.longest, cycles);
  }
  const std::uint64_t ns = to_ns(cycles);
  const int bucket = ns == 0 ? 0 : 63 - __builtin_clzll(ns);
  std::uint64_t& count = times.buckets[bucket < kBuckets ? bucket : kBuckets - 1];
  store(count, count + 1);
}

void clear(Times& times) {
  store(times.count, std::uint64_t{0});
  store(times.longest, std::uint64_t{0});
  for (std::uint64_t& bucket : times.buckets) {
    store(bucket, std::uint64_t{0});
  }
}

[[noreturn]] void watch(std::uint32_t vcpu) {
  Seen& seen = g_seen[vcpu];
  std::uint64_t page = 0;
  std::uint64_t pages = 0;
  std::uint64_t pace = 0;
  std::uint64_t next_write = 0;
  std::uint64_t last = guest::counter();
  for (;;) {
    const std::uint64_t now = guest::counter();
    record(seen.gaps, now - last);
    last = now;
    if (const std::uint64_t epoch = load(g_wanted.epoch); epoch != seen.epoch) {
      pages = load(g_wanted.pages);
      pace = to_cycles(load(g_wanted.pace_ns));
      clear(seen.gaps);
      clear(seen.writes);
      next_write = now;
      store(seen.epoch, epoch);
      last = guest::counter();
      continue;
    }
    if (pages == 0 || now < next_write) {
      continue;
    }
    const std::uint64_t before = guest::counter();
    *word_of(page) = now;
    last = guest::counter();
    record(seen.writes, last - before);
    page = (page + 1) % pages;
    next_write = last + pace;
  }
}

bool refuse(Writer& out, Text why) {
  out.clear();
  out.format("error {}", why);
  return false;
}

bool check_mib(std::uint64_t mib, Writer& out) {
  return mib <= g_block_count * kBlockBytes / abi::kMiB ||
         refuse(out, "there is not so much memory");
}

void measure(Text request, Writer& out) {
  std::uint64_t write = 0;
  std::uint64_t pace = 0;
  if (!guest::number_option(request, "write", write) ||
      !guest::number_option(request, "pace", pace)) {
    refuse(out, "write or pace is not a number");
    return;
  }
  if (!check_mib(write, out)) {
    return;
  }
  store(g_wanted.pages, write * kPagesPerMib);
  store(g_wanted.pace_ns, pace);
  const std::uint64_t epoch = g_wanted.epoch + 1;
  store(g_wanted.epoch, epoch);
  for (std::uint32_t vcpu = 1; vcpu < guest::boot_info().vcpu_count; ++vcpu) {
    while (load(g_seen[vcpu].epoch) != epoch) {
      guest::relax();
    }
  }
  out.put("ok");
}

void put_histogram(Writer& out, Text name, const std::uint64_t (&buckets)[kBuckets]) {
  out.format(" {}=", name);
  bool first = true;
  for (int i = kFirstBucket; i < kBuckets; ++i) {
    if (buckets[i] != 0) {
      out.format(first ? "{}:{}" : ",{}:{}", std::uint64_t{1} << i, buckets[i]);
      first = false;
    }
  }
}

void add(Times& sum, const Times& one) {
  sum.count += load(one.count);
  const std::uint64_t longest = load(one.longest);
  sum.longest = longest > sum.longest ? longest : sum.longest;
  for (int i = 0; i < kBuckets; ++i) {
    sum.buckets[i] += load(one.buckets[i]);
  }
}

void report(Writer& out) {
  Times gaps;
  Times writes;
  for (std::uint32_t vcpu = 1; vcpu < guest::boot_info().vcpu_count; ++vcpu) {
    // A vCPU that has just been let in again has not noted yet for how long it stood still.
    const std::uint64_t count = load(g_seen[vcpu].gaps.count);
    while (load(g_seen[vcpu].gaps.count) < count + 2) {
      guest::relax();
    }
    add(gaps, g_seen[vcpu].gaps);
    add(writes, g_seen[vcpu].writes);
  }
  out.format("ok vcpus={} khz={} readings={} writes={} longest_gap_ns={} longest_write_ns={}",
             guest::boot_info().vcpu_count - 1, g_khz, gaps.count, writes.count,
             to_ns(gaps.longest), to_ns(writes.longest));
  put_histogram(out, "gaps", gaps.buckets);
  put_histogram(out, "write_times", writes.buckets);
}

void dirty(Text request, Writer& out) {
  Words words(request);
  words.next();
  std::uint64_t mib = 0;
  std::uint64_t seed = 1;
  if (!guest::parse_number(words.next(), mib) || !guest::number_option(request, "seed", seed)) {
    refuse(out, "dirty MIB seed=1");
    return;
  }
  if (!check_mib(mib, out)) {
    return;
  }
  for (std::uint64_t page = 0; page < mib * kPagesPerMib; ++page) {
    *word_of(page) = guest::mix(page + seed);
  }
  out.format("ok pages={}", mib * kPagesPerMib);
}

void answer(Text request, Writer& out) {
  const Text verb = Words(request).next();
  if (verb == "measure") {
    measure(request, out);
  } else if (verb == "report") {
    report(out);
  } else if (verb == "dirty") {
    dirty(request, out);
  } else {
    refuse(out, "measure, report or dirty");
  }
}

void fill() {
  const std::uint64_t free_mib = guest::free_bytes() / abi::kMiB;
  std::uint64_t mib = free_mib / 2;
  if (!guest::number_option(guest::arguments(), "fill", mib)) {
    guest::panic("jitter: fill is not a number of MiB\n");
  }
  for (std::uint64_t done = 0; done < mib && g_block_count < kBlocksMax;
       done += kBlockBytes / abi::kMiB) {
    auto* const block = static_cast<std::uint8_t*>(guest::allocate(kBlockBytes, kPageBytes));
    auto* const words = reinterpret_cast<std::uint64_t*>(block);
    for (std::uint64_t i = 0; i < kBlockBytes / sizeof(std::uint64_t); ++i) {
      words[i] = guest::mix(i + (g_block_count << 32));
    }
    g_blocks[g_block_count++] = block;
  }
}

}  // namespace

void guest_main(std::uint32_t vcpu) {
  if (vcpu != 0) {
    watch(vcpu);
  }
  if (guest::boot_info().vcpu_count < 2) {
    guest::panic("jitter: it needs two vCPUs, one to watch and one to answer\n");
  }
  g_khz = guest::counter_khz();
  fill();
  guest::serve(answer);
}
