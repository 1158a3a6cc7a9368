// The bookkeeping of guest-physical memory behind hv_vm_map(), hv_vm_unmap() and hv_vm_protect().
#include <array>
#include <map>
#include <optional>
#include <random>

#include <gtest/gtest.h>

#include "hvf/sim/stage2.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::size_t kPage = 0x4000;
constexpr std::uintptr_t kHost = 0x7f0000000000;
constexpr hv_memory_flags_t kRead = HV_MEMORY_READ;
constexpr hv_memory_flags_t kAll = HV_MEMORY_READ | HV_MEMORY_WRITE | HV_MEMORY_EXEC;

TEST(SimStage2Test, WhatIsNotAlignedToTheGranuleIsABadArgument) {
  Stage2 memory(kPage, 36);
  EXPECT_EQ(memory.map(kHost + 0x1000, 0, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, 0x1000, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, 0, 0x1000, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, 0, 0, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(0, 0, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, 0, kPage, 8), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.extents(), 0U);
  ASSERT_EQ(memory.map(kHost, 0, 2 * kPage, kAll), HV_SUCCESS);
  EXPECT_EQ(memory.protect(0x1000, kPage, kRead), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.protect(0, 0x1000, kRead), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.protect(0, kPage, 16), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.unmap(0, 0x1000), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.unmap(0, 0), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.extents(), 1U);
}

TEST(SimStage2Test, AGranuleOfFourKibibytesTakesItsPages) {
  Stage2 memory(0x1000, 36);
  EXPECT_EQ(memory.map(kHost + 0x1000, 0x3000, 0x1000, kRead), HV_SUCCESS);
  EXPECT_EQ(memory.find(0x3fff), (Stage2::Page{kHost + 0x1fff, kRead}));
}

TEST(SimStage2Test, AddressesEndWhereTheConfigurationSays) {
  Stage2 memory(kPage, 36);
  const hv_ipa_t end = hv_ipa_t{1} << 36U;
  EXPECT_EQ(memory.map(kHost, end - kPage, 2 * kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, end, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.map(kHost, UINT64_MAX - kPage + 1, 2 * kPage, kAll), HV_BAD_ARGUMENT) << "wraps";
  EXPECT_EQ(memory.map(UINTPTR_MAX - kPage + 1, 0, 2 * kPage, kAll), HV_BAD_ARGUMENT) << "wraps";
  EXPECT_EQ(memory.map(kHost, end - kPage, kPage, kAll), HV_SUCCESS);
}

TEST(SimStage2Test, AMappingOverAnotherIsAnError) {
  Stage2 memory(kPage, 36);
  ASSERT_EQ(memory.map(kHost, 4 * kPage, 4 * kPage, kAll), HV_SUCCESS);
  EXPECT_EQ(memory.map(kHost, 4 * kPage, 4 * kPage, kAll), HV_ERROR) << "the same";
  EXPECT_EQ(memory.map(kHost, 5 * kPage, kPage, kAll), HV_ERROR) << "inside";
  EXPECT_EQ(memory.map(kHost, 7 * kPage, 2 * kPage, kAll), HV_ERROR) << "over its end";
  EXPECT_EQ(memory.map(kHost, 3 * kPage, 2 * kPage, kAll), HV_ERROR) << "over its beginning";
  EXPECT_EQ(memory.map(kHost, 0, 16 * kPage, kAll), HV_ERROR) << "around it";
  EXPECT_EQ(memory.map(kHost, 8 * kPage, kPage, kAll), HV_SUCCESS) << "behind it";
  EXPECT_EQ(memory.map(kHost, 3 * kPage, kPage, kAll), HV_SUCCESS) << "before it";
}

TEST(SimStage2Test, AHoleInTheRangeIsRefusedAndNothingChanges) {
  Stage2 memory(kPage, 36);
  ASSERT_EQ(memory.map(kHost, 0, 4 * kPage, kAll), HV_SUCCESS);
  ASSERT_EQ(memory.unmap(kPage, kPage), HV_SUCCESS);
  EXPECT_EQ(memory.find(kPage), std::nullopt);
  EXPECT_EQ(memory.unmap(kPage, kPage), HV_BAD_ARGUMENT) << "twice";
  EXPECT_EQ(memory.unmap(0, 4 * kPage), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.protect(0, 4 * kPage, kRead), HV_BAD_ARGUMENT);
  EXPECT_EQ(memory.protect(3 * kPage, 2 * kPage, kRead), HV_BAD_ARGUMENT) << "past the end";
  EXPECT_EQ(memory.find(0)->flags, kAll);
  EXPECT_EQ(memory.find(3 * kPage)->flags, kAll);
  EXPECT_EQ(memory.map(kHost, kPage, kPage, kRead), HV_SUCCESS) << "the hole can be filled";
  EXPECT_EQ(memory.protect(0, 4 * kPage, 0), HV_SUCCESS) << "one call over several mappings";
  EXPECT_EQ(memory.find(kPage)->flags, 0U);
}

// What the pages would be if each were kept by itself.
struct Model {
  std::map<std::size_t, Stage2::Page> pages;

  [[nodiscard]] bool has_all(std::size_t first, std::size_t count) const {
    for (std::size_t i = first; i < first + count; ++i) {
      if (!pages.contains(i)) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] bool has_any(std::size_t first, std::size_t count) const {
    const auto found = pages.lower_bound(first);
    return found != pages.end() && found->first < first + count;
  }
};

TEST(SimStage2Test, ThousandsOfRandomCallsKeepEveryPageAsAModelHasIt) {
  std::mt19937 random(1);
  Stage2 memory(kPage, 36);
  Model model;
  std::array<unsigned, 6> outcomes = {};
  for (int step = 0; step < 20000; ++step) {
    const std::size_t first = random() % 24;
    const std::size_t count = 1 + (random() % 6);
    const hv_memory_flags_t flags = random() % 8;
    const hv_ipa_t ipa = first * kPage;
    const std::size_t call = random() % 3;
    hv_return_t expected = HV_SUCCESS;
    hv_return_t actual = HV_SUCCESS;
    if (call == 0) {
      const std::uintptr_t host = kHost + ((random() % 1000) * kPage);
      expected = model.has_any(first, count) ? HV_ERROR : HV_SUCCESS;
      actual = memory.map(host, ipa, count * kPage, flags);
      for (std::size_t i = 0; expected == HV_SUCCESS && i < count; ++i) {
        model.pages[first + i] = {host + (i * kPage), flags};
      }
    } else {
      expected = model.has_all(first, count) ? HV_SUCCESS : HV_BAD_ARGUMENT;
      actual =
          call == 1 ? memory.unmap(ipa, count * kPage) : memory.protect(ipa, count * kPage, flags);
      for (std::size_t i = 0; expected == HV_SUCCESS && i < count; ++i) {
        if (call == 1) {
          model.pages.erase(first + i);
        } else {
          model.pages[first + i].flags = flags;
        }
      }
    }
    ASSERT_EQ(actual, expected) << "step " << step;
    ++outcomes[(2 * call) + (expected == HV_SUCCESS ? 0 : 1)];
    for (std::size_t i = 0; i < 30; ++i) {
      const auto page = model.pages.find(i);
      const auto wanted = page == model.pages.end() ? std::nullopt : std::optional(page->second);
      ASSERT_EQ(memory.find(i * kPage), wanted) << "step " << step << ", page " << i;
    }
  }
  for (const unsigned times : outcomes) {
    EXPECT_GT(times, 100U) << "each call was refused and accepted often";
  }
}

}  // namespace
}  // namespace stasis::hvf::sim
