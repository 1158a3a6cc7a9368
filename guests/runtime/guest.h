// The guest runtime: everything that a bare guest written in C++ needs. A guest defines
// guest_main(); docs/guest-abi.md has a complete one in 20 lines.
//
// Freestanding C++20: no libc, no exceptions, no RTTI, no thread-safe statics. Global constructors
// run on vCPU 0 before any guest_main().
#pragma once

#include <cstddef>
#include <cstdint>

#include "guests/abi.h"
#include "guests/runtime/arch.h"
#include "guests/runtime/hash.h"
#include "guests/runtime/text.h"

// The guest's program. Called once on every vCPU, on vCPU 0 first: the others start when it calls
// start_other_vcpus() or serve(). Returning exits the guest with code 0 (vCPU 0) or parks the vCPU
// for ever (the others).
void guest_main(std::uint32_t vcpu);

namespace stasis::guest {

const abi::BootInfo& boot_info();
Text arguments();
inline abi::Mailbox& mailbox() {
  return *reinterpret_cast<abi::Mailbox*>(abi::kMailboxAddress);
}

// ---- Output and ends ----

// Bytes to the host's console. Any vCPU; at most abi::kConsoleBytesMax a call, the rest is cut.
void print_text(Text text);
// print("{} of {} pages\n", done, all);
template <typename... Values>
void print(Text format, Values... values) {
  char buffer[1024];
  Writer writer(buffer, sizeof(buffer));
  writer.format(format, values...);
  print_text(writer.text());
}

[[noreturn]] void exit(std::uint32_t code);

// Ends the guest as failed; the host shows the message.
[[noreturn]] void panic_text(Text text);
template <typename... Values>
[[noreturn]] void panic(Text format, Values... values) {
  char buffer[1024];
  Writer writer(buffer, sizeof(buffer));
  writer.format(format, values...);
  panic_text(writer.text());
}

// ---- Memory ----

// Free RAM, in address order, never given back. Panics when there is no more. Only vCPU 0.
void* allocate(std::size_t bytes, std::size_t alignment = 16);
// What allocate() can still give in one piece.
std::size_t free_bytes();

// ---- Host services ----

void fill_random(void* out, std::size_t bytes);
struct Generation {
  std::uint8_t id[abi::kGenerationBytes];
  std::uint64_t restore_count;
};
Generation generation();

// The rate of counter(). Taken from the boot information, or measured once (some 10 ms) where the
// host did not know it.
std::uint64_t counter_khz();

// Warm: the host may save the VM here. Returns when the host resumes it. serve() calls it.
void ready();

// A numbered point at which the host may save the VM; returns when the host resumes it.
void checkpoint(std::uint32_t number);

// Counts latencies in powers of two and gives them to the host.
class FaultProbe {
 public:
  void record(std::uint64_t cycles) {
    ++histogram_.count;
    histogram_.total_cycles += cycles;
    if (cycles > histogram_.max_cycles) {
      histogram_.max_cycles = cycles;
    }
    int bucket = cycles == 0 ? 0 : 63 - __builtin_clzll(cycles);
    constexpr int kBuckets = sizeof(histogram_.buckets) / sizeof(histogram_.buckets[0]);
    ++histogram_.buckets[bucket < kBuckets ? bucket : kBuckets - 1];
  }
  void publish() const {
    mailbox().header.fault_histogram = histogram_;
    ring(abi::Register::kFaultProbe, 0);
  }

 private:
  abi::FaultHistogram histogram_ = {};
};

// ---- vCPUs ----

void start_other_vcpus();
inline void wake(std::uint32_t vcpu) {
  ring(abi::Register::kWake, vcpu);
}
// Waits for wake(); may return without one.
inline void park() {
  ring(abi::Register::kPark, 0);
}

// ---- Requests ----

// Answers one request: appends to `response`, which holds abi::kResponseBytesMax bytes.
using Handler = void (*)(Text request, Writer& response);

// Rings kReady, then answers requests for ever with `handler`. Requests that begin with '@' are
// answered by the runtime itself, in every guest:
//   @ping                   pong
//   @id                     generation=<32 hex> restores=<n>
//   @prove                  nonce=<32 hex> counter=<n> hash=<16 hex> restores=<n>
// The nonce is drawn from the host when the guest starts and lies nowhere but in its RAM; the
// counter counts requests; the hash is the XXH64 of all memory that allocate() has given out, which
// begins with a block filled from the nonce.
[[noreturn]] void serve(Handler handler);

}  // namespace stasis::guest
