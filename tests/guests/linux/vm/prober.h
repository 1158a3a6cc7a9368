// A guest that touches memory as a test asks, while the test changes its address space as the
// process's kernel would.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/guests/linux/vm/running_process.h"
#include "tests/guests/linux/vm/test_kernel.h"
#include "tests/support/must.h"

namespace stasis::linux_guest::vm {

// As programs/prober.c has it.
struct Probe {
  enum class Operation : std::uint64_t { kRead = 0, kWrite = 1, kExecute = 2, kOut = 3 };
  Operation operation = Operation::kRead;
  std::uint64_t address = 0;
  std::uint64_t value = 0;
};

// What a probe answers instead of a byte or 0.
constexpr std::uint64_t page_fault(std::uint64_t error_code) {
  return 0x10000 | (14U << 8U) | error_code;
}
// Bits of the error code: SDM vol. 3A, 4.7.
inline constexpr std::uint64_t kPresentBit = 1, kWriteBit = 2, kUserBit = 4, kFetchBit = 16;

class Prober {
 public:
  static std::unique_ptr<Prober> start(HypervisorBackend& backend, const std::string& program,
                                       std::uint64_t memory_bytes = std::uint64_t{64} << 20U) {
    auto prober = std::make_unique<Prober>();
    prober->running_ = must(RunningProcess::start(
        backend, program, {.kernel = make_test_kernel, .memory_bytes = memory_bytes}));
    const MachineEvent ready = must(prober->running_->next_event());
    if (ready.kind != MachineEvent::Kind::kReady) {
      throw std::runtime_error("not ready: " + ready.message);
    }
    prober->park();
    return prober;
  }

  // The process waits in its kernel: its address space may be changed as by a system call.
  [[nodiscard]] GuestAddressSpace& space() { return running_->process().address_space(); }
  [[nodiscard]] RunningProcess& running() { return *running_; }

  std::vector<std::uint64_t> probe(const std::vector<Probe>& probes) {
    std::vector<std::byte> bytes(probes.size() * sizeof(Probe));
    std::memcpy(bytes.data(), probes.data(), bytes.size());
    const std::vector<std::byte> answer = must(running_->request(bytes));
    park();
    std::vector<std::uint64_t> results(probes.size());
    for (std::size_t i = 0; i < probes.size(); ++i) {
      Probe probe;
      std::memcpy(&probe, answer.data() + i * sizeof(Probe), sizeof(probe));
      results[i] = probe.value;
    }
    return results;
  }
  std::uint64_t read(std::uint64_t address) {
    return probe({{Probe::Operation::kRead, address, 0}})[0];
  }
  std::uint64_t write(std::uint64_t address, std::uint64_t value) {
    return probe({{Probe::Operation::kWrite, address, value}})[0];
  }
  std::uint64_t out(std::uint64_t port) { return probe({{Probe::Operation::kOut, port, 0}})[0]; }
  std::uint64_t execute(std::uint64_t address) {
    return probe({{Probe::Operation::kExecute, address, 0}})[0];
  }

 private:
  // Until the vCPU is parked: it responds first and then asks for the next request.
  void park() {
    for (;;) {
      must(running_->machine().pause(std::chrono::seconds(10)));
      if (must(running_->machine().save_state()).activities[0] == VcpuActivity::kParked) {
        return;
      }
      must(running_->machine().resume());
      std::this_thread::yield();
    }
  }

  std::unique_ptr<RunningProcess> running_;
};

}  // namespace stasis::linux_guest::vm
