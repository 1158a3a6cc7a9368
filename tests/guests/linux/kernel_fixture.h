// A process for tests: a Kernel over fake memory and a fake CPU, with a clock of the test's own and
// a folder of the host on its allow-list.
#pragma once

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "guests/linux/kernel.h"
#include "tests/guests/linux/fake_cpu.h"
#include "tests/guests/linux/fake_memory.h"

namespace stasis::linux_guest {

class ManualClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return now_ns; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override {
    return 1'700'000'000'000'000'000 + now_ns;
  }
  std::int64_t now_ns = 5'000'000'000;
};

class KernelTest : public ::testing::Test {
 protected:
  KernelTest();
  ~KernelTest() override;

  // A system call of the loaded thread; its result. Fails the test if the process ends or waits.
  SysResult call(long number, std::array<std::uint64_t, 6> arguments = {});
  // The same, where what comes after is of interest.
  AfterTrap trap(long number, std::array<std::uint64_t, 6> arguments = {});
  [[nodiscard]] SysResult result() { return static_cast<SysResult>(cpu.general().rax); }

  // In the memory of the process.
  [[nodiscard]] std::uint64_t text(std::string_view content);  // With a zero behind it.
  [[nodiscard]] std::uint64_t room(std::uint64_t bytes);       // Zeros.
  template <typename T>
  [[nodiscard]] std::uint64_t value(const T& content) {
    const std::uint64_t at = room(sizeof(T));
    EXPECT_EQ(memory.write({at}, std::as_bytes(std::span(&content, 1))), sizeof(T));
    return at;
  }
  template <typename T>
  [[nodiscard]] T get(std::uint64_t at) {
    T content{};
    EXPECT_EQ(memory.read({at}, std::as_writable_bytes(std::span(&content, 1))), sizeof(T));
    return content;
  }
  [[nodiscard]] std::string get_text(std::uint64_t at, std::size_t size);

  // Shorter names for what every test does.
  SysResult open(std::string_view path, int flags, int mode = 0644);
  SysResult write(SysResult descriptor, std::string_view bytes);
  std::string read(SysResult descriptor, std::size_t bytes_max = 4096);
  void host_file(const std::string& name, std::string_view content);
  void post(std::string_view request);
  [[nodiscard]] std::string response();  // "(none)" if there is none.
  // Saves, makes a new kernel over the same memory, and loads.
  void save_and_load();
  [[nodiscard]] std::vector<std::byte> save();
  Result<void> load(std::span<const std::byte> state,
                    Kernel::StaleFiles stale = Kernel::StaleFiles::kRefuse);
  void make_kernel();

  std::filesystem::path folder;  // On the allow-list.
  std::filesystem::path secret;  // A file beside it, which is not.
  ManualClock clock;
  KernelConfig config;
  FakeMemory memory;
  FakeCpu cpu;
  std::string output;
  std::unique_ptr<Kernel> kernel;

 private:
  std::filesystem::path base_;
  std::uint64_t next_ = 0;
};

}  // namespace stasis::linux_guest
