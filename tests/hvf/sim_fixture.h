// What every test of running guests starts from: a VM of the simulation with some memory, and code
// in it. Through the framework's C functions alone.
#pragma once

#include <libkern/OSCacheControl.h>
#include <mach/mach_time.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <Hypervisor/Hypervisor.h>
#include <gtest/gtest.h>

#include "core/address.h"
#include "hvf/sim/diagnosis.h"
#include "tests/support/arm64_code.h"

namespace stasis::hvf {

inline constexpr std::size_t kPage = 0x4000;
inline constexpr hv_memory_flags_t kReadExec = HV_MEMORY_READ | HV_MEMORY_EXEC;
inline constexpr hv_memory_flags_t kAll = HV_MEMORY_READ | HV_MEMORY_WRITE | HV_MEMORY_EXEC;
inline constexpr std::uint64_t kEl1Masked = 0x3c5;  // EL1h, DAIF.

// Zeroed memory of this process, aligned to a page of the framework.
class HostMemory {
 public:
  explicit HostMemory(std::size_t size)
      : whole_bytes_(size + kPage),
        whole_(::mmap(nullptr, whole_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0)) {
    EXPECT_NE(whole_, MAP_FAILED);
  }
  ~HostMemory() { ::munmap(whole_, whole_bytes_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  [[nodiscard]] std::byte* address() const {
    const auto begin = reinterpret_cast<std::uintptr_t>(whole_);
    return static_cast<std::byte*>(whole_) + (align_up(begin, kPage) - begin);
  }

 private:
  std::size_t whole_bytes_;
  void* whole_;
};

// For SetUp(): skips the test where the simulation cannot make a VM.
inline void skip_without_engine() {
  if (const auto available = sim::check_engine_available(); !available) {
    GTEST_SKIP() << available.error().to_string();
  }
}

// A VM with kBytes of memory from address 0, where code begins at 0.
class SimGuestTest : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 64 * kPage;
  static constexpr std::uint64_t kData = 32 * kPage;
  static constexpr std::uint64_t kDevice = 0x40000000;  // Nothing is mapped there.

  void SetUp() override {
    skip_without_engine();
    if (IsSkipped()) {
      return;
    }
    ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS) << sim::last_failure();
    ASSERT_EQ(hv_vm_map(memory_.address(), 0, kBytes, kAll), HV_SUCCESS) << sim::last_failure();
  }
  // Each test destroys its vCPUs on their threads; this one's if it has one.
  void TearDown() override {
    for (hv_vcpu_t vcpu = 0; vcpu < 8; ++vcpu) {
      hv_vcpu_destroy(vcpu);
    }
    const hv_return_t code = hv_vm_destroy();
    EXPECT_TRUE(code == HV_SUCCESS || code == HV_NO_DEVICE);
  }

  void put(std::uint64_t ipa, const Arm64Code& code) {
    std::memcpy(memory_.address() + ipa, code.bytes().data(), code.bytes().size());
  }
  [[nodiscard]] std::uint64_t peek(std::uint64_t ipa) const {
    return __atomic_load_n(reinterpret_cast<std::uint64_t*>(memory_.address() + ipa),
                           __ATOMIC_ACQUIRE);
  }
  void poke(std::uint64_t ipa, std::uint64_t value) {
    std::memcpy(memory_.address() + ipa, &value, sizeof(value));
  }

  HostMemory memory_{kBytes};
};

// A vCPU of the calling thread, about to execute at `pc`.
class SimVcpu {
 public:
  explicit SimVcpu(std::uint64_t pc = 0) {
    EXPECT_EQ(hv_vcpu_create(&handle_, &exit_, nullptr), HV_SUCCESS) << sim::last_failure();
    set(HV_REG_PC, pc);
    set(HV_REG_CPSR, kEl1Masked);
  }
  ~SimVcpu() { EXPECT_EQ(hv_vcpu_destroy(handle_), HV_SUCCESS); }
  SimVcpu(const SimVcpu&) = delete;
  SimVcpu& operator=(const SimVcpu&) = delete;

  [[nodiscard]] hv_vcpu_t handle() const { return handle_; }

  // The exit of one hv_vcpu_run(), which must succeed.
  hv_vcpu_exit_t run() {
    EXPECT_EQ(hv_vcpu_run(handle_), HV_SUCCESS) << sim::last_failure();
    return *exit_;
  }
  void set(hv_reg_t reg, std::uint64_t value) {
    EXPECT_EQ(hv_vcpu_set_reg(handle_, reg, value), HV_SUCCESS) << sim::last_failure();
  }
  [[nodiscard]] std::uint64_t get(hv_reg_t reg) const {
    std::uint64_t value = 0;
    EXPECT_EQ(hv_vcpu_get_reg(handle_, reg, &value), HV_SUCCESS) << sim::last_failure();
    return value;
  }
  void set(hv_sys_reg_t reg, std::uint64_t value) {
    EXPECT_EQ(hv_vcpu_set_sys_reg(handle_, reg, value), HV_SUCCESS) << sim::last_failure();
  }
  [[nodiscard]] std::uint64_t get(hv_sys_reg_t reg) const {
    std::uint64_t value = 0;
    EXPECT_EQ(hv_vcpu_get_sys_reg(handle_, reg, &value), HV_SUCCESS) << sim::last_failure();
    return value;
  }

 private:
  hv_vcpu_t handle_ = 99;
  hv_vcpu_exit_t* exit_ = nullptr;
};

inline std::uint32_t exception_class(const hv_vcpu_exit_t& exit) {
  return static_cast<std::uint32_t>(exit.exception.syndrome >> 26U) & 0x3fU;
}
// Whether the guest has executed HVC #number.
inline bool is_hvc(const hv_vcpu_exit_t& exit, std::uint16_t number) {
  return exit.reason == HV_EXIT_REASON_EXCEPTION && exception_class(exit) == 0x16 &&
         (exit.exception.syndrome & 0xffffU) == number;
}

}  // namespace stasis::hvf
