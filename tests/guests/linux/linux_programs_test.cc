// Programs of Linux in a VM, over the test's own kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "tests/guests/linux/running_process.h"
#include "tests/guests/linux/test_kernel.h"
#include "tests/support/must.h"

namespace stasis::linux_guest::vm {
namespace {

using testing::HasSubstr;

class LinuxProgramsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = kvm::make_backend({});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }
  std::unique_ptr<RunningProcess> start(const std::string& name, RunOptions options = {}) {
    options.kernel = make_test_kernel;
    return must(RunningProcess::start(*backend_, LINUX_PROGRAMS + name, options));
  }
  std::unique_ptr<HypervisorBackend> backend_;
};

TEST_F(LinuxProgramsTest, AStaticProgramPrintsItsArgumentsAndExits) {
  auto process = start("hello_static", {.arguments = {"one", "two"}});
  EXPECT_EQ(must(process->run_to_exit()), 3U);
  EXPECT_THAT(process->output(), HasSubstr("hello_static with 2 arguments\n"));
}

TEST_F(LinuxProgramsTest, AStaticPositionIndependentProgramRuns) {
  auto process = start("hello_static_pie");
  EXPECT_EQ(must(process->run_to_exit()), 1U);
  EXPECT_THAT(process->output(), HasSubstr("hello_static_pie with 0 arguments\n"));
}

TEST_F(LinuxProgramsTest, ADynamicProgramRunsThroughItsInterpreter) {
  auto process = start("hello_dynamic", {.arguments = {"x"}});
  EXPECT_EQ(must(process->run_to_exit()), 2U);
  EXPECT_THAT(process->output(), HasSubstr("hello_dynamic with 1 arguments\n"));
}

}  // namespace
}  // namespace stasis::linux_guest::vm
