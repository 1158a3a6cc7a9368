#include "experiments/floor/bare_kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/text.h"
#include "core/unique_fd.h"
#include "experiments/floor/long_mode.h"
#include "kvm/guest_counter.h"
#include "kvm/kvm_fd.h"
#include "kvm/kvm_uapi.h"
#include "session/tsc_clock.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20U;
constexpr std::uint64_t kMinBytes = 2 * kHugePage;

// Guest-physical layout, all below 2 MiB, which is mapped one to one. The next 2 MiB of virtual
// addresses lead to the first address behind RAM: a store there leaves the guest.
constexpr std::uint64_t kPml4 = 0x1000;
constexpr std::uint64_t kPdpt = 0x2000;
constexpr std::uint64_t kDirectory = 0x3000;
constexpr std::uint64_t kCode = 0x4000;
constexpr std::uint64_t kCounter = 0x5000;  // Where the guest stores its time-stamp counter.

// rdtsc; shl rdx, 32; or rax, rdx; mov [0x5000], rax; mov [0x200000], al
constexpr std::array<std::uint8_t, 24> kProgram = {0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09,
                                                   0xD0, 0x48, 0x89, 0x04, 0x25, 0x00, 0x50, 0x00,
                                                   0x00, 0x88, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00};

// Unmapped on destruction.
class Mapping {
 public:
  Mapping(void* at, std::size_t bytes) noexcept : at_(at), bytes_(bytes) {}
  ~Mapping() {
    if (at_ != MAP_FAILED) {
      ::munmap(at_, bytes_);
    }
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  Mapping(Mapping&&) = delete;
  Mapping& operator=(Mapping&&) = delete;
  [[nodiscard]] bool failed() const noexcept { return at_ == MAP_FAILED; }
  [[nodiscard]] std::byte* bytes() const noexcept { return static_cast<std::byte*>(at_); }

 private:
  void* at_;
  std::size_t bytes_;
};

Error refused(const std::string& request) {
  Error error = errno_error(errno, "bare KVM floor: " + request);
  error.code = Errc::kBackend;
  return error;
}

void store(std::byte* memory, std::uint64_t offset, std::uint64_t value) {
  std::memcpy(memory + offset, &value, sizeof(value));
}

void load_program(std::byte* memory, std::uint64_t memory_bytes) {
  constexpr std::uint64_t kTable = 7;         // Present, writable, user.
  constexpr std::uint64_t kLeaf = 7 | 0x80U;  // The same, and a 2 MiB page.
  store(memory, kPml4, kPdpt | kTable);
  store(memory, kPdpt, kDirectory | kTable);
  store(memory, kDirectory, 0 | kLeaf);
  store(memory, kDirectory + 8, memory_bytes | kLeaf);
  std::memcpy(memory + kCode, kProgram.data(), kProgram.size());
}

// Notes how long each step took.
class Steps {
 public:
  explicit Steps(MonotonicNs begin) : last_(begin) {}
  std::int64_t next() {
    const MonotonicNs now = host_clock().now();
    return now - std::exchange(last_, now);
  }

 private:
  MonotonicNs last_;
};

Result<void> set_registers(int vcpu) {
  kvm_sregs sregs{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &sregs) != 0) {
    return refused("KVM_GET_SREGS");
  }
  set_long_mode(sregs, kPml4);
  if (::ioctl(vcpu, KVM_SET_SREGS, &sregs) != 0) {
    return refused("KVM_SET_SREGS");
  }
  kvm_regs regs{};
  regs.rip = kCode;
  regs.rflags = 2;  // The bit that is always set.
  if (::ioctl(vcpu, KVM_SET_REGS, &regs) != 0) {
    return refused("KVM_SET_REGS");
  }
  return {};
}

// Runs until the guest's store without memory; the counter is then in guest memory.
Result<void> run_guest(int vcpu, const kvm_run& run) {
  while (::ioctl(vcpu, KVM_RUN, 0) != 0) {
    if (errno != EINTR) {
      return refused("KVM_RUN");
    }
  }
  if (run.exit_reason != KVM_EXIT_MMIO) {
    return Error{.code = Errc::kBackend,
                 .message = "bare KVM floor: the guest left with exit reason " +
                            std::to_string(run.exit_reason) + " instead of " +
                            std::to_string(KVM_EXIT_MMIO)};
  }
  return {};
}

// The guest's counter at its first instruction, on the host's clock. A counter that lies between
// the anchors, which are milliseconds of the centuries that it can count, is the host's own: so it
// is under the PVM module, which is not asked. A new VM's own starts near 0.
Result<session::TscConversion> place(std::uint64_t counter, const session::TscAnchor& before,
                                     const session::TscAnchor& after, const kvm::KvmFd& vcpu) {
  if (const auto shared = session::convert_tsc(counter, before, after)) {
    return *shared;
  }
  const auto fail = [](const std::string& why) {
    return Error{.code = Errc::kNotSupported,
                 .message =
                     "bare KVM floor: the guest's time-stamp counter is not the host's, and "
                     "its first instruction cannot be placed on the host's clock: " +
                     why};
  };
  const Result<CounterRelation> relation = kvm::read_counter_relation(vcpu, 0);
  if (!relation) {
    return fail(relation.error().message);
  }
  const auto converted = session::convert_guest_tsc(counter, *relation, before, after);
  if (!converted) {
    return fail("by KVM's word about the counter it did not run between begin and end");
  }
  return *converted;
}

struct Device {
  UniqueFd fd;
  std::size_t run_bytes = 0;
};

Result<Device> open_device() {
  Device device{.fd = UniqueFd(::open("/dev/kvm", O_RDWR | O_CLOEXEC)), .run_bytes = 0};
  if (!device.fd.is_open()) {
    Error error = refused("open /dev/kvm");
    error.code = Errc::kNotSupported;
    return error;
  }
  const int run_bytes = ::ioctl(device.fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_bytes < static_cast<int>(sizeof(kvm_run))) {
    return refused("KVM_GET_VCPU_MMAP_SIZE");
  }
  device.run_bytes = static_cast<std::size_t>(run_bytes);
  return device;
}

}  // namespace

Result<BareKvmTimes> measure_bare_kvm(std::uint64_t memory_bytes) {
  if (memory_bytes < kMinBytes || memory_bytes % kHugePage != 0) {
    return Error{.code = Errc::kInvalidArgument,
                 .message = "bare KVM floor: memory of " + describe_bytes(memory_bytes) +
                            " is not a multiple of 2 MiB from 4 MiB on"};
  }
  BareKvmTimes times;
  Steps opening(host_clock().now());
  STASIS_ASSIGN(const Device device, open_device());
  times.open = opening.next();
  const std::optional<session::TscAnchor> before = session::take_tsc_anchor();

  const MonotonicNs begin = host_clock().now();
  Steps steps(begin);
  const Mapping memory(::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
                       memory_bytes);
  if (memory.failed()) {
    return errno_error(errno, "bare KVM floor: map guest memory");
  }
  load_program(memory.bytes(), memory_bytes);
  times.memory = steps.next();

  const UniqueFd vm(::ioctl(device.fd.get(), KVM_CREATE_VM, 0));
  if (!vm.is_open()) {
    return refused("KVM_CREATE_VM");
  }
  times.create_vm = steps.next();

  kvm_userspace_memory_region region{};
  region.memory_size = memory_bytes;
  std::memcpy(&region.userspace_addr, std::array{memory.bytes()}.data(), sizeof(std::byte*));
  if (::ioctl(vm.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0) {
    return refused("KVM_SET_USER_MEMORY_REGION");
  }
  times.slot = steps.next();

  UniqueFd created(::ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  if (!created.is_open()) {
    return refused("KVM_CREATE_VCPU");
  }
  const kvm::KvmFd vcpu(std::move(created));
  const Mapping run(
      ::mmap(nullptr, device.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.get(), 0),
      device.run_bytes);
  if (run.failed()) {
    return errno_error(errno, "bare KVM floor: map the run structure");
  }
  times.create_vcpu = steps.next();

  STASIS_TRY(set_registers(vcpu.get()));
  times.registers = steps.next();
  const MonotonicNs entered = host_clock().now();
  STASIS_TRY(run_guest(vcpu.get(), *static_cast<const kvm_run*>(static_cast<void*>(run.bytes()))));

  const std::optional<session::TscAnchor> after = session::take_tsc_anchor();
  std::uint64_t counter = 0;
  std::memcpy(&counter, memory.bytes() + kCounter, sizeof(counter));
  if (!before || !after) {
    return Error{.code = Errc::kNotSupported,
                 .message = "bare KVM floor: this host has no time-stamp counter"};
  }
  STASIS_ASSIGN(const session::TscConversion first, place(counter, *before, *after, vcpu));
  times.enter = first.at - entered;
  times.first_instruction = first.at - begin;
  times.error = first.error_ns;
  return times;
}

}  // namespace stasis::experiments
