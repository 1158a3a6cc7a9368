// A QEMU that dies is an error with a reason, never a hang, and nothing of it stays behind.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <gmock/gmock.h>

#include "tests/experiments/temporary_directory.h"
#include "tests/hvf/sim_fixture.h"

namespace stasis::hvf {
namespace {

class SimFailureTest : public SimGuestTest {
 protected:
  static void kill_qemu() {
    const std::optional<int> id = sim::qemu_process_id();
    ASSERT_TRUE(id.has_value());
    ASSERT_EQ(::kill(*id, SIGKILL), 0);
  }
  // Of any parent; one that is dead and waits for its parent does not count.
  static bool is_alive(int process) {
    const std::string path = "/proc/" + std::to_string(process) + "/stat";
    std::FILE* const file = std::fopen(path.c_str(), "re");
    if (file == nullptr) {
      return false;
    }
    char state = 0;
    const int found = std::fscanf(file, "%*d %*s %c", &state);
    std::fclose(file);
    return found == 1 && state != 'Z' && state != 'X';
  }
};

TEST_F(SimFailureTest, ARunningGuestsVcpuGetsAnErrorWhenQemuDies) {
  Arm64Code loop;
  put(0, loop.store(0, 1).add_imm(0, 0, 1).branch(0));
  SimVcpu vcpu;
  vcpu.set(HV_REG_X1, kData);
  std::thread killer([this] {
    while (peek(kData) == 0) {
      std::this_thread::yield();
    }
    kill_qemu();
  });
  EXPECT_EQ(hv_vcpu_run(vcpu.handle()), HV_ERROR);
  killer.join();
  EXPECT_THAT(sim::last_failure(), testing::HasSubstr("QEMU was ended by signal 9"));
  EXPECT_EQ(hv_vcpu_run(vcpu.handle()), HV_ERROR) << "and for ever";
  std::uint64_t value = 0;
  EXPECT_EQ(hv_vcpu_get_sys_reg(vcpu.handle(), HV_SYS_REG_SCTLR_EL1, &value), HV_ERROR);
  sys_icache_invalidate(memory_.address(), kPage);
  mach_absolute_time();
}

TEST_F(SimFailureTest, AStateThatNoProcessorCanEnterIsAnErrorAndNoHang) {
  SimVcpu vcpu;
  vcpu.set(HV_REG_CPSR, 0x3cd);  // EL3h.
  EXPECT_EQ(hv_vcpu_run(vcpu.handle()), HV_ERROR);
  EXPECT_THAT(sim::last_failure(), testing::HasSubstr("the simulation's monitor failed"));
}

TEST_F(SimFailureTest, ACreationGetsAnErrorWhenQemuIsDead) {
  kill_qemu();
  hv_vcpu_t vcpu = 0;
  hv_vcpu_exit_t* exit = nullptr;
  EXPECT_EQ(hv_vcpu_create(&vcpu, &exit, nullptr), HV_ERROR);
  EXPECT_EQ(hv_vm_destroy(), HV_SUCCESS);
  EXPECT_EQ(hv_vm_create(nullptr), HV_SUCCESS) << "the next VM has its own";
  EXPECT_EQ(hv_vcpu_create(&vcpu, &exit, nullptr), HV_SUCCESS);
}

TEST_F(SimFailureTest, NoQemuOutlivesItsVm) {
  const int id = sim::qemu_process_id().value_or(0);
  ASSERT_TRUE(is_alive(id));
  ASSERT_EQ(hv_vm_destroy(), HV_SUCCESS);
  EXPECT_FALSE(is_alive(id));
}

TEST_F(SimFailureTest, MemoryOutlivesItsVm) {
  put(0, Arm64Code().load_imm(0, 3).load_imm(1, kData).store(0, 1).hvc(0));
  {
    SimVcpu vcpu;
    ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  }
  ASSERT_EQ(hv_vm_destroy(), HV_SUCCESS);
  EXPECT_EQ(peek(kData), 3U);
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  ASSERT_EQ(hv_vm_map(memory_.address(), 0, kBytes, kAll), HV_SUCCESS);
  SimVcpu vcpu;
  poke(kData, 0);
  ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(peek(kData), 3U) << "the same memory in the next VM";
}

TEST_F(SimFailureTest, NoQemuOutlivesItsProcess) {
  ASSERT_EQ(hv_vm_destroy(), HV_SUCCESS);
  int ends[2] = {};
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {  // Makes a VM, says which QEMU it is, and is killed.
    const int id = hv_vm_create(nullptr) == HV_SUCCESS ? sim::qemu_process_id().value_or(0) : 0;
    static_cast<void>(::write(ends[1], &id, sizeof(id)));
    while (true) {
      ::pause();
    }
  }
  int id = 0;
  ASSERT_EQ(::read(ends[0], &id, sizeof(id)), static_cast<ssize_t>(sizeof(id)));
  EXPECT_NE(id, 0);
  EXPECT_TRUE(is_alive(id));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  while (is_alive(id)) {  // The test's time limit is the bound.
    std::this_thread::yield();
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

class SimAvailabilityTest : public testing::Test {
 protected:
  void SetUp() override {
    skip_without_engine();
    const char* const set = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread.
    path_ = set == nullptr ? "" : set;
  }
  void TearDown() override { set_path(path_); }
  static void set_path(const std::string& path) {
    ASSERT_EQ(::setenv("PATH", path.c_str(), 1), 0);  // NOLINT(concurrency-mt-unsafe)
  }

 private:
  std::string path_;
};

TEST_F(SimAvailabilityTest, WithoutQemuInPathTheReasonAndTheCureAreSaid) {
  set_path("/nowhere");
  EXPECT_EQ(hv_vm_create(nullptr), HV_ERROR);
  EXPECT_THAT(sim::last_failure(), testing::HasSubstr("install qemu-system-arm"));
}

TEST_F(SimAvailabilityTest, AQemuThatGivesUpIsQuoted) {
  const experiments::TemporaryDirectory directory;
  const std::string program =
      directory.write("qemu-system-aarch64", "#!/bin/sh\necho 'unknown machine' >&2\nexit 3\n");
  ASSERT_EQ(::chmod(program.c_str(), 0700), 0);
  set_path(directory.path());
  EXPECT_EQ(hv_vm_create(nullptr), HV_ERROR);
  EXPECT_THAT(sim::last_failure(), testing::HasSubstr("QEMU ended with status 3: unknown machine"));
}

}  // namespace
}  // namespace stasis::hvf
