// What the tests of guests/ share: memory, and a DeviceHost that only takes notes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/guest_memory.h"
#include "guests/abi.h"
#include "guests/memory_layout.h"
#include "tests/support/must.h"

namespace stasis::guests::test {

inline std::unique_ptr<GuestMemory> make_memory(std::uint64_t mib) {
  MemoryOptions options;
  options.huge_pages = HugePages::kNever;  // Small tests touch few pages.
  return must(GuestMemory::create(must(guest_memory_regions(mib * abi::kMiB, options)), 4096));
}

// Single-threaded.
class FakeHost final : public DeviceHost {
 public:
  explicit FakeHost(std::uint64_t mib = 8, std::uint32_t vcpus = 2)
      : memory_(make_memory(mib)), vcpus_(vcpus) {}

  GuestMemory& memory() override { return *memory_; }
  void wake(std::uint32_t vcpu) override { woken.push_back(vcpu); }
  [[nodiscard]] std::uint32_t vcpu_count() const override { return vcpus_; }

  std::vector<std::uint32_t> woken;

 private:
  std::unique_ptr<GuestMemory> memory_;
  std::uint32_t vcpus_;
};

}  // namespace stasis::guests::test
