#include "tests/snapshot/behaviour/scribbling_guest.h"

#include <algorithm>
#include <array>

#include "tests/support/x86_ring3.h"

// RSI walks the list at R14, which has R15 entries: an address and a kind. R8 makes the values.
STASIS_X86_CODE(scribble,
                "20: mov %r14, %rsi\n mov %r15, %r12\n"
                "21: mov (%rsi), %rdi\n mov 8(%rsi), %rbx\n"
                " imul $0x41c64e6d, %r8, %r8\n add $0x3039, %r8\n"
                " cmp $1, %ebx\n jne 22f\n movb %r8b, (%rdi)\n jmp 30f\n"
                "22: cmp $2, %ebx\n jne 23f\n movw %r8w, (%rdi)\n jmp 30f\n"
                "23: cmp $4, %ebx\n jne 24f\n movl %r8d, (%rdi)\n jmp 30f\n"
                "24: cmp $8, %ebx\n jne 25f\n movq %r8, (%rdi)\n jmp 30f\n"
                "25: cmp $16, %ebx\n jne 26f\n movq %r8, %xmm0\n punpcklqdq %xmm0, %xmm0\n"
                " movups %xmm0, (%rdi)\n jmp 30f\n"
                "26: cmp $32, %ebx\n jne 27f\n mov %r8, %rax\n lock xaddq %rax, (%rdi)\n jmp 30f\n"
                "27: cmp $64, %ebx\n jne 28f\n addq (%rdi), %r8\n jmp 30f\n"
                "28: cmp $128, %ebx\n jne 29f\n mov %r8, %rax\n mov $5000, %ecx\n"
                " rep stosb\n jmp 30f\n"
                "29: mov %r8d, %eax\n mov $0x1f0, %edx\n out %eax, %dx\n"
                "30: add $16, %rsi\n dec %r12\n jnz 21b\n jmp 20b\n")

namespace stasis::snapshot::testing {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20U;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30U;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint16_t kPort = 0x1f0;
constexpr std::uint64_t kLists = 2 * kMib;  // Of all vCPUs.
constexpr std::uint64_t kEntries = 1500;    // A vCPU.
constexpr std::uint64_t kListBytes = 0x8000;
constexpr std::uint64_t kStringBytes = 5000;

struct Entry {
  std::uint64_t address = 0, kind = 0;
};
static_assert(kEntries * sizeof(Entry) <= kListBytes);

std::vector<RegionSpec> regions_of(const ScribblerConfig& config) {
  std::vector<RegionSpec> specs;
  for (const GpaRange& range :
       {GpaRange{Gpa{0}, 6 * kMib}, GpaRange{Gpa{8 * kMib}, 2 * kMib},
        GpaRange{Gpa{10 * kMib}, 2 * kMib}, GpaRange{Gpa{3 * kGib - 2 * kMib}, 2 * kMib},
        GpaRange{Gpa{4 * kGib}, 2 * kMib}}) {
    specs.push_back({range, config.backing, config.huge_pages, {}});
  }
  return specs;
}

// `bytes` somewhere, or across the end of a page; the last byte of a range can be hit.
std::uint64_t place(std::mt19937_64& random, const std::vector<GpaRange>& data,
                    std::uint64_t bytes) {
  const GpaRange range = data[random() % data.size()];
  if (random() % 4 == 0) {
    const std::uint64_t border = kPage * (1 + random() % (range.size / kPage - 2));
    return range.begin.value + border - random() % (std::min(bytes, kPage) + 1);
  }
  return range.begin.value + random() % (range.size - bytes + 1);
}

std::vector<Entry> make_list(std::mt19937_64& random, const std::vector<GpaRange>& data) {
  std::vector<Entry> list(kEntries);
  for (Entry& entry : list) {
    constexpr std::array<std::uint64_t, 12> kKinds{1, 2, 4, 8, 8, 16, 16, 32, 32, 64, 64, 0};
    entry.kind = random() % 64 == 0 ? 128 : kKinds[random() % kKinds.size()];
    switch (entry.kind) {
      case 32:
        entry.address = align_down(place(random, data, 8), 8);
        break;
      case 64:
        entry.address = place(random, data, 8);
        break;
      case 128:
        entry.address = place(random, data, kStringBytes);
        break;
      default:
        entry.address = place(random, data, std::max<std::uint64_t>(entry.kind, 1));
    }
  }
  list.front().kind = 0;  // At least one access to the device a round.
  return list;
}

}  // namespace

Result<WriteOutcome> ScribblingDevice::write(std::uint64_t, std::uint8_t, std::uint64_t,
                                             std::uint32_t, DeviceHost& host) {
  // Held over the write too: a bus calls a device on every vCPU's thread, and who writes the same
  // bytes is for the device to order.
  const MutexLock lock(mutex_);
  std::vector<std::byte> bytes(1 + random_() % 6000);
  std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(random_()));
  const Gpa at{place(random_, data_, bytes.size())};
  if (bytes.size() % 4 == 0) {  // Not at every access: it would write everywhere.
    STASIS_TRY(host.memory().write(at, bytes));
  }
  ++accesses_;
  changed_.notify_all();
  return WriteOutcome{};
}

bool ScribblingDevice::await(std::uint64_t accesses) {
  const auto deadline = deadline_after(std::chrono::minutes(1));
  const MutexLock lock(mutex_);
  while (accesses_ < accesses) {
    if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) {
      return false;
    }
  }
  return true;
}

std::uint64_t ScribblingDevice::accesses() const {
  const MutexLock lock(mutex_);
  return accesses_;
}

Result<Scribbler> make_scribbler(HypervisorBackend& backend, const ScribblerConfig& config) {
  Scribbler result;
  result.data = {{Gpa{4 * kMib}, 2 * kMib},
                 {Gpa{8 * kMib}, 4 * kMib},  // Two regions.
                 {Gpa{3 * kGib - 2 * kMib}, 2 * kMib},
                 {Gpa{4 * kGib}, 2 * kMib}};
  const std::vector<RegionSpec> specs = regions_of(config);
  STASIS_ASSIGN(auto memory, GuestMemory::create(specs, kPage));
  STASIS_TRY(x86_ring3::write_environment(*memory, 4 * kGib + 4 * kMib));
  std::mt19937_64 random(config.seed);
  MachineConfig machine_config;
  machine_config.vcpus = config.vcpus;
  machine_config.dirty_ring_entries = config.dirty_ring_entries;
  MachineState state;
  for (std::uint32_t vcpu = 0; vcpu < config.vcpus; ++vcpu) {
    const std::uint64_t list_at = kLists + vcpu * kListBytes;
    const std::vector<Entry> list = make_list(random, result.data);
    STASIS_TRY(memory->write(Gpa{list_at}, std::as_bytes(std::span(list))));
    STASIS_TRY(x86_ring3::write_code(*memory, vcpu, scribble()));
    X86VcpuState start =
        x86_ring3::start_state(vcpu, x86_ring3::code_address(vcpu), backend.capabilities());
    start.general.r14 = list_at;
    start.general.r15 = list.size();
    start.general.r8 = random();
    state.vcpus.emplace_back(std::move(start));
    state.activities.push_back(VcpuActivity::kRunning);
    state.wake_pending.push_back(false);
  }
  state.devices.push_back({"scribbler", 1, {}});
  machine_config.initial_state = std::move(state);
  result.device = std::make_shared<ScribblingDevice>(result.data, config.seed + 1);
  auto bus = std::make_unique<DeviceBus>();
  STASIS_TRY(bus->attach(IoSpace::kPort, kPort, 4, result.device));
  STASIS_ASSIGN(result.machine, Machine::create(backend, std::move(memory), std::move(bus),
                                                std::move(machine_config)));
  return result;
}

}  // namespace stasis::snapshot::testing
