#include "experiments/harness/free_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/harness/process_memory.h"
#include "tests/support/must.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kBytes = std::uint64_t{32} << 20U;

TEST(FreeMemory, IsTouchedAndFreedAgain) {
  const std::uint64_t before = process_memory().resident_bytes;
  ASSERT_TRUE(reset_peak_memory());
  EXPECT_GT(must(back_free_memory_ns(kBytes)), 0);
  EXPECT_GE(process_memory().peak_resident_bytes, before + kBytes / 2);
  EXPECT_LT(process_memory().resident_bytes, before + kBytes / 2);
}

TEST(FreeMemory, MoreThanAnAddressSpaceIsRefusedWithTheAmount) {
  const auto refused = back_free_memory_ns(std::uint64_t{1} << 60U);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("of free memory"));
}

}  // namespace
}  // namespace stasis::experiments
