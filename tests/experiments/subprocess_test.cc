#include "experiments/harness/subprocess.h"

#include <atomic>
#include <chrono>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

TEST(Subprocess, ReturnsOutputExitCodeAndUsage) {
  auto result = run_process({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->standard_output, "out\n");
  EXPECT_EQ(result->standard_error, "err\n");
  EXPECT_GT(result->ended_at, result->spawned_at);
  EXPECT_GT(result->peak_rss_bytes, 0U);
}

TEST(Subprocess, OutputLargerThanAPipeIsCollected) {
  auto result = run_process({"/bin/sh", "-c", "head -c 1000000 /dev/zero"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->standard_output.size(), 1000000U);
}

TEST(Subprocess, ASignalIsAnExitCode) {
  auto result = run_process({"/bin/sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, 128 + 9);
}

TEST(Subprocess, AProcessThatDoesNotEndIsKilled) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = run_process({"/bin/sleep", "60"}, {.timeout = std::chrono::milliseconds(50)});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(Subprocess, CancellingKillsIt) {
  const std::atomic<bool> cancel = true;
  auto result = run_process({"/bin/sleep", "60"}, {.cancel = &cancel});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("cancelled"), std::string::npos);
}

TEST(Subprocess, AMissingProgramIsNamed) {
  auto result = run_process({"/does/not/exist"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kNotFound);
  EXPECT_NE(result.error().message.find("/does/not/exist"), std::string::npos);
}

}  // namespace
}  // namespace stasis::experiments
