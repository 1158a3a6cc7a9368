// What a process sees of its address space: the processor itself enforces it.
#include <cerrno>
#include <map>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/linux/vm/layout.h"
#include "kvm/probe.h"
#include "tests/guests/linux/vm/prober.h"

namespace stasis::linux_guest::vm {
namespace {

using testing::ElementsAre;

constexpr Protection kReadWrite = Protection::kRead | Protection::kWrite;
constexpr std::uint64_t kBase = 0x2000'0000'0000;
constexpr std::uint64_t kPage = kPageBytes;
constexpr std::uint64_t kHuge = layout::kHugePageBytes;

class MemorySemanticsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = kvm::make_backend({});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    prober_ = Prober::start(*backend_, LINUX_PROGRAMS "prober");
  }
  GuestAddressSpace& space() { return prober_->space(); }
  std::uint64_t map(std::uint64_t begin, std::uint64_t size, Protection protection) {
    const SysResult mapped = space().map({.hint = {begin},
                                          .size_bytes = size,
                                          .protection = protection,
                                          .placement = MapRequest::Placement::kFixed});
    EXPECT_EQ(mapped, static_cast<SysResult>(begin));
    return begin;
  }
  void poke(std::uint64_t address, std::uint8_t value) {
    const std::byte byte{value};
    EXPECT_EQ(space().write({address}, {&byte, 1}), 1U);
  }

  std::unique_ptr<HypervisorBackend> backend_;
  std::unique_ptr<Prober> prober_;
};

TEST_F(MemorySemanticsTest, FreshMemoryReadsZeroAndKeepsWhatIsWritten) {
  map(kBase, 4 * kPage, kReadWrite);
  EXPECT_EQ(prober_->read(kBase + 5), 0U);
  EXPECT_EQ(prober_->write(kBase + 5, 0x77), 0U);
  EXPECT_EQ(prober_->read(kBase + 5), 0x77U);
  std::byte seen{};
  EXPECT_EQ(space().read({kBase + 5}, {&seen, 1}), 1U);
  EXPECT_EQ(seen, std::byte{0x77});
}

TEST_F(MemorySemanticsTest, WhatIsNotMappedFaultsAsNotPresent) {
  EXPECT_EQ(prober_->read(kBase), page_fault(kUserBit));
  EXPECT_EQ(prober_->write(kBase, 1), page_fault(kUserBit | kWriteBit));
  EXPECT_EQ(prober_->execute(kBase), page_fault(kUserBit | kFetchBit));
  EXPECT_EQ(prober_->read(8), page_fault(kUserBit));
}

TEST_F(MemorySemanticsTest, TheVmsOwnStructuresAreNotTheProcesss) {
  for (const std::uint64_t gpa :
       {layout::kGdt, layout::kTss, layout::kKernelStubs, layout::kRootTable, layout::kTables}) {
    EXPECT_EQ(prober_->read(layout::kKernelBase + gpa), page_fault(kUserBit)) << gpa;
    EXPECT_EQ(prober_->write(layout::kKernelBase + gpa, 0), page_fault(kUserBit | kWriteBit));
  }
  EXPECT_EQ(prober_->write(layout::kUserStubsPage, 0), page_fault(kUserBit | kWriteBit));
}

TEST_F(MemorySemanticsTest, NoPortIsTheProcesss) {
  constexpr std::uint64_t kGeneralProtection = 0x10000 | (13U << 8U);
  for (std::uint64_t port = layout::kPortBase - 1; port <= layout::kPortRewritten + 1; ++port) {
    if (port > layout::kPortWait && port < layout::kPortSyscall + 8) {
      continue;  // Six ports of ring 3's byte of the bitmap where nothing answers.
    }
    EXPECT_EQ(prober_->out(port), kGeneralProtection) << std::hex << port;
  }
}

TEST_F(MemorySemanticsTest, AReadOnlyPageRefusesWrites) {
  map(kBase, kPage, Protection::kRead);
  EXPECT_EQ(prober_->read(kBase), 0U);
  EXPECT_EQ(prober_->write(kBase, 1), page_fault(kPresentBit | kWriteBit | kUserBit));
}

TEST_F(MemorySemanticsTest, APageWithoutExecutePermissionIsNotExecuted) {
  map(kBase, kPage, kReadWrite);
  poke(kBase, 0xc3);  // ret
  EXPECT_EQ(prober_->execute(kBase), page_fault(kPresentBit | kUserBit | kFetchBit));
  EXPECT_EQ(space().protect({kBase}, kPage, Protection::kRead | Protection::kExecute), 0);
  EXPECT_EQ(prober_->execute(kBase), 0U);
  EXPECT_EQ(space().protect({kBase}, kPage, Protection::kRead), 0);
  EXPECT_EQ(prober_->execute(kBase), page_fault(kPresentBit | kUserBit | kFetchBit));
}

TEST_F(MemorySemanticsTest, ProtectTakesAndGivesPermissionOnTouchedPages) {
  map(kBase, 2 * kPage, kReadWrite);
  EXPECT_EQ(prober_->write(kBase, 9), 0U);
  EXPECT_EQ(space().protect({kBase}, kPage, Protection::kRead), 0);
  EXPECT_EQ(prober_->write(kBase, 1), page_fault(kPresentBit | kWriteBit | kUserBit));
  EXPECT_EQ(prober_->write(kBase + kPage, 1), 0U);
  EXPECT_EQ(space().protect({kBase}, kPage, Protection::kNone), 0);
  EXPECT_EQ(prober_->read(kBase), page_fault(kPresentBit | kUserBit));
  EXPECT_EQ(space().protect({kBase}, kPage, kReadWrite), 0);
  EXPECT_EQ(prober_->read(kBase), 9U) << "PROT_NONE keeps the content";
  EXPECT_EQ(prober_->write(kBase, 2), 0U);
}

TEST_F(MemorySemanticsTest, UnmappedMemoryIsGoneAndComesBackAsZero) {
  map(kBase, 3 * kPage, kReadWrite);
  EXPECT_EQ(prober_->write(kBase + kPage, 9), 0U);
  EXPECT_EQ(space().unmap({kBase + kPage}, kPage), 0);
  EXPECT_EQ(prober_->read(kBase + kPage), page_fault(kUserBit));
  EXPECT_EQ(prober_->read(kBase + 2 * kPage), 0U);
  map(kBase + kPage, kPage, kReadWrite);
  EXPECT_EQ(prober_->read(kBase + kPage), 0U);
}

TEST_F(MemorySemanticsTest, AMappingOverLivePagesReplacesThem) {
  map(kBase, 2 * kPage, kReadWrite);
  EXPECT_EQ(prober_->write(kBase, 9), 0U);
  EXPECT_EQ(prober_->write(kBase + kPage, 8), 0U);
  map(kBase, kPage, Protection::kRead);
  EXPECT_EQ(prober_->read(kBase), 0U);
  EXPECT_EQ(prober_->write(kBase, 1), page_fault(kPresentBit | kWriteBit | kUserBit));
  EXPECT_EQ(prober_->read(kBase + kPage), 8U);
}

TEST_F(MemorySemanticsTest, MovedMemoryIsAtItsNewPlaceAlone) {
  map(kBase, 40 * kPage, kReadWrite);
  EXPECT_EQ(prober_->write(kBase + 39 * kPage, 5), 0U);
  const std::uint64_t to = kBase + 0x1000'0000;
  constexpr std::uint64_t kMayMoveFixed = 3;
  EXPECT_EQ(space().remap({kBase}, 40 * kPage, 41 * kPage, kMayMoveFixed, {to}),
            static_cast<SysResult>(to));
  EXPECT_EQ(prober_->read(kBase + 39 * kPage), page_fault(kUserBit));
  EXPECT_EQ(prober_->read(to + 39 * kPage), 5U);
  EXPECT_EQ(prober_->write(to + 40 * kPage, 6), 0U);
}

TEST_F(MemorySemanticsTest, DontNeedForgetsContent) {
  map(kBase, 2 * kPage, kReadWrite);
  EXPECT_EQ(prober_->write(kBase, 9), 0U);
  EXPECT_EQ(prober_->write(kBase + kPage, 8), 0U);
  constexpr int kDontNeed = 4;
  EXPECT_EQ(space().advise({kBase}, kPage, kDontNeed), 0);
  EXPECT_EQ(prober_->read(kBase), 0U);
  EXPECT_EQ(prober_->read(kBase + kPage), 8U);
}

TEST_F(MemorySemanticsTest, AStackGrowsOnTouchUpToItsLimitAndNoFurther) {
  std::uint64_t stack = 0;
  for (const Mapping& mapping : space().mappings()) {
    stack = mapping.name == "[stack]" ? mapping.begin.value : stack;
  }
  ASSERT_NE(stack, 0U);
  EXPECT_EQ(prober_->write(stack - 100 * kPage, 3), 0U);
  EXPECT_EQ(prober_->read(stack - 100 * kPage), 3U);
  EXPECT_EQ(prober_->read(space().plan().stack_lowest - 1), page_fault(kUserBit));
}

TEST_F(MemorySemanticsTest, HugePagesAreCutWhereAMappingChanges) {
  map(kBase, 3 * kHuge, kReadWrite);
  EXPECT_EQ(prober_->write(kBase + kHuge + 7 * kPage, 7), 0U);
  EXPECT_EQ(prober_->write(kBase + kHuge + 8 * kPage, 8), 0U);
  EXPECT_GE(space().resident_bytes(), kHuge) << "the test needs a huge page";
  EXPECT_EQ(space().protect({kBase + kHuge + 7 * kPage}, kPage, Protection::kRead), 0);
  EXPECT_EQ(prober_->write(kBase + kHuge + 7 * kPage, 1),
            page_fault(kPresentBit | kWriteBit | kUserBit));
  EXPECT_EQ(prober_->read(kBase + kHuge + 7 * kPage), 7U);
  EXPECT_EQ(space().unmap({kBase + kHuge + 8 * kPage}, kPage), 0);
  EXPECT_EQ(prober_->read(kBase + kHuge + 8 * kPage), page_fault(kUserBit));
  EXPECT_EQ(prober_->write(kBase + kHuge + 9 * kPage, 9), 0U);
  EXPECT_EQ(space().unmap({kBase}, 3 * kHuge), 0);
  EXPECT_EQ(prober_->read(kBase + kHuge + 9 * kPage), page_fault(kUserBit));
}

TEST_F(MemorySemanticsTest, HugePagesMoveAsTheyAre) {
  map(kBase, 3 * kHuge, kReadWrite);
  EXPECT_EQ(prober_->write(kBase + kHuge + 5, 5), 0U);
  for (const std::uint64_t to : {kBase + 16 * kHuge, kBase + 32 * kHuge + kPage}) {
    const std::uint64_t from = to == kBase + 16 * kHuge ? kBase : kBase + 16 * kHuge;
    EXPECT_EQ(space().remap({from}, 3 * kHuge, 3 * kHuge, 3, {to}), static_cast<SysResult>(to));
    EXPECT_EQ(prober_->read(to + kHuge + 5), 5U);
    EXPECT_EQ(prober_->read(from + kHuge + 5), page_fault(kUserBit));
  }
}

TEST_F(MemorySemanticsTest, WhatIsGivenBackIsFreeAndZeroAgain) {
  const std::uint64_t before = space().resident_bytes();
  map(kBase, 5 * kHuge, kReadWrite);
  for (std::uint64_t at = 0; at < 5 * kHuge; at += 16 * kPage) {
    poke(kBase + at, 0xee);
  }
  EXPECT_EQ(space().unmap({kBase}, 5 * kHuge), 0);
  EXPECT_EQ(space().resident_bytes(), before);
  map(kBase, 5 * kHuge, kReadWrite);
  for (std::uint64_t at = 0; at < 5 * kHuge; at += 16 * kPage) {
    std::byte seen{1};
    EXPECT_EQ(space().read({kBase + at}, {&seen, 1}), 1U);
    ASSERT_EQ(seen, std::byte{0}) << at;
  }
}

TEST_F(MemorySemanticsTest, CopiesStopAtTheFirstByteThatTheProcessCannotTouch) {
  map(kBase, kPage, kReadWrite);
  map(kBase + kPage, kPage, Protection::kRead);
  std::vector<std::byte> bytes(3 * kPage, std::byte{0x11});
  EXPECT_EQ(space().write({kBase + 100}, bytes), kPage - 100);
  EXPECT_EQ(space().read({kBase + 100}, bytes), 2 * kPage - 100);
  EXPECT_EQ(space().read({kUserSpaceEnd - 1}, bytes), 0U);
  EXPECT_EQ(space().write({kUserSpaceEnd}, bytes), 0U);
  EXPECT_EQ(space().read({UINT64_MAX - 10}, bytes), 0U);
  EXPECT_EQ(space().read({layout::kKernelBase + layout::kGdt}, bytes), 0U);
}

TEST_F(MemorySemanticsTest, ErrorsAreThoseOfTheManualPages) {
  const auto request = [&](std::uint64_t begin, std::uint64_t size,
                           MapRequest::Placement placement) {
    return space().map({.hint = {begin}, .size_bytes = size, .placement = placement});
  };
  constexpr auto kFixed = MapRequest::Placement::kFixed;
  EXPECT_EQ(request(kBase, 0, kFixed), -EINVAL);
  EXPECT_EQ(request(kBase + 1, kPage, kFixed), -EINVAL);
  EXPECT_EQ(request(kBase, UINT64_MAX, kFixed), -ENOMEM);
  EXPECT_EQ(request(UINT64_MAX - kPage + 1, kPage, kFixed), -ENOMEM);
  EXPECT_EQ(request(0, kPage, kFixed), -EPERM);
  EXPECT_EQ(request(kUserSpaceEnd - kPage, 2 * kPage, kFixed), -ENOMEM);
  map(kBase, kPage, kReadWrite);
  EXPECT_EQ(request(kBase, kPage, MapRequest::Placement::kFixedNoReplace), -EEXIST);
  EXPECT_NE(request(kBase, kPage, MapRequest::Placement::kAnywhere), static_cast<SysResult>(kBase));
  EXPECT_EQ(space().unmap({kBase + 1}, kPage), -EINVAL);
  EXPECT_EQ(space().unmap({kBase}, 0), -EINVAL);
  EXPECT_EQ(space().unmap({kBase}, UINT64_MAX), -EINVAL);
  EXPECT_EQ(space().unmap({kBase + 8 * kPage}, kPage), 0) << "unmapping a hole is allowed";
  EXPECT_EQ(space().protect({kBase}, 2 * kPage, Protection::kRead), -ENOMEM);
  EXPECT_EQ(space().protect({kBase + 8 * kPage}, kPage, Protection::kRead), -ENOMEM);
  EXPECT_EQ(space().remap({kBase + 8 * kPage}, kPage, 2 * kPage, 1, {}), -EFAULT);
  EXPECT_EQ(space().remap({kBase}, kPage, 0, 1, {}), -EINVAL);
  EXPECT_EQ(space().remap({kBase}, kPage, kPage, 2, {kBase + 4 * kPage}), -EINVAL);
  EXPECT_EQ(space().remap({kBase}, kPage, kPage, 8, {}), -EINVAL);
  EXPECT_EQ(space().advise({kBase}, kPage, 12345), -EINVAL);
  EXPECT_EQ(space().advise({kBase + 8 * kPage}, kPage, 4), -ENOMEM);
}

// A model of the same operations; every page is compared through the processor.
class Model {
 public:
  struct Page {
    Protection protection = Protection::kNone;
    std::uint8_t content = 0;
  };
  std::map<std::uint64_t, Page> pages;

  [[nodiscard]] std::uint64_t expect(const Probe& probe) {
    const bool write = probe.operation == Probe::Operation::kWrite;
    const auto found = pages.find(align_down(probe.address, kPage));
    const std::uint64_t code = kUserBit | (write ? kWriteBit : 0);
    if (found == pages.end()) {
      return page_fault(code);
    }
    Page& page = found->second;
    if (write ? !has(page.protection, Protection::kWrite) : page.protection == Protection::kNone) {
      return page_fault(code | kPresentBit);
    }
    if (write) {
      page.content = static_cast<std::uint8_t>(probe.value);
      return 0;
    }
    return page.content;
  }
};

// Two windows: one of small pages, one that huge pages fit into.
class RandomOperationsTest : public MemorySemanticsTest,
                             public testing::WithParamInterface<std::uint64_t> {
 protected:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::uint64_t address() { return kBase + below(kWindowPages) * kPage; }
  std::uint64_t size_at(std::uint64_t begin) {
    const std::uint64_t left = (kBase + kWindowPages * kPage - begin) / kPage;
    const std::uint64_t most = below(4) == 0 ? left : std::min<std::uint64_t>(left, 12);
    return (1 + below(most)) * kPage;
  }
  Protection protection() {
    constexpr std::array kChoices = {Protection::kNone, Protection::kRead, kReadWrite, kReadWrite};
    return kChoices[below(kChoices.size())];
  }
  void change();

  static constexpr std::uint64_t kWindowPages = 1600;  // A little more than 3 huge pages.
  std::mt19937_64 random_{GetParam()};
  Model model_;
};

void RandomOperationsTest::change() {
  const std::uint64_t begin = address();
  const std::uint64_t size = size_at(begin);
  const auto first = model_.pages.lower_bound(begin);
  const auto last = model_.pages.lower_bound(begin + size);
  switch (below(6)) {
    case 0:
    case 1: {
      const Protection wanted = protection();
      map(begin, size, wanted);
      for (std::uint64_t at = begin; at < begin + size; at += kPage) {
        model_.pages[at] = {wanted, 0};
      }
      break;
    }
    case 2:
      ASSERT_EQ(space().unmap({begin}, size), 0);
      model_.pages.erase(first, last);
      break;
    case 3: {
      const Protection wanted = protection();
      const SysResult outcome = space().protect({begin}, size, wanted);
      std::uint64_t at = begin;
      for (; at < begin + size && model_.pages.count(at) != 0; at += kPage) {
        model_.pages[at].protection = wanted;
      }
      ASSERT_EQ(outcome, at == begin + size ? 0 : -ENOMEM);
      break;
    }
    case 4: {
      constexpr int kDontNeed = 4;
      static_cast<void>(space().advise({begin}, size, kDontNeed));
      for (auto page = first; page != last; ++page) {
        page->second.content = 0;
      }
      break;
    }
    default: {
      const std::uint64_t to = address();
      const SysResult moved = space().remap({begin}, size, size, 3, {to});
      if (moved < 0) {
        break;  // Holes, two mappings, an overlap: nothing may have changed.
      }
      std::map<std::uint64_t, Model::Page> taken;
      for (auto page = first; page != last; ++page) {
        taken[page->first - begin + to] = page->second;
      }
      model_.pages.erase(first, last);
      model_.pages.erase(model_.pages.lower_bound(to), model_.pages.lower_bound(to + size));
      model_.pages.merge(taken);
    }
  }
}

TEST_P(RandomOperationsTest, AreSeenByTheProcessorAsByTheModel) {
  for (int step = 0; step < 1000; ++step) {
    change();
    if (HasFatalFailure()) {
      return;
    }
    std::vector<Probe> probes;
    for (int i = 0; i < 12; ++i) {
      probes.push_back({below(2) == 0 ? Probe::Operation::kRead : Probe::Operation::kWrite,
                        address() + below(kPage), 0});
      probes.back().address = align_down(probes.back().address, kPage);
      probes.back().value = below(256);
    }
    const std::vector<std::uint64_t> seen = prober_->probe(probes);
    for (std::size_t i = 0; i < probes.size(); ++i) {
      ASSERT_EQ(seen[i], model_.expect(probes[i]))
          << "step " << step << " at " << std::hex << probes[i].address << " "
          << static_cast<std::uint64_t>(probes[i].operation);
    }
  }
  // Everything is given back.
  ASSERT_EQ(space().unmap({kBase}, kWindowPages * kPage), 0);
  EXPECT_EQ(prober_->read(kBase), page_fault(kUserBit));
}
INSTANTIATE_TEST_SUITE_P(Seeds, RandomOperationsTest, testing::Values(1, 2, 3));

}  // namespace
}  // namespace stasis::linux_guest::vm
