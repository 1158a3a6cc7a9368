// The parts of the guest runtime that do not need a guest, checked on the host.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "guests/programs/kvstore_data.h"
#include "guests/programs/pagetoucher_content.h"
#include "guests/runtime/hash.h"
#include "guests/runtime/text.h"

namespace stasis::guest {
namespace {

std::string to_string(Text text) {
  return {text.data, text.size};
}

// Computed with the reference implementation, xxHash 0.8.
TEST(GuestHash, EqualsTheReferenceForEveryKindOfTail) {
  struct Known {
    std::size_t size;
    std::uint64_t unseeded, seeded;
  };
  const Known known[] = {
      {0, 0xef46db3751d8e999ULL, 0xac75fda2929b17efULL},
      {1, 0xbb7bd1fd8a2d2b82ULL, 0x2dc29066cc4444aeULL},
      {2, 0xc560037a30e764f3ULL, 0x6a4d425f88ab1d7dULL},
      {3, 0x8103345a55ed9489ULL, 0x5f33b833a3dd13feULL},
      {4, 0x970838e382c79ae5ULL, 0x50f368d4555defa3ULL},
      {5, 0x6930171e8e30234eULL, 0x47e2d77fc1b37485ULL},
      {7, 0x60790a42d5f2c26bULL, 0xa2e0693ab40865acULL},
      {8, 0x7b473b25ecff48eaULL, 0x86be2efa0cb9fab0ULL},
      {9, 0x460010b2bd7681dfULL, 0x378282720545ed37ULL},
      {12, 0x054d875b4644dac3ULL, 0xe2724347976c9c8fULL},
      {15, 0x5726ef4becf397c9ULL, 0x484ac8f229180028ULL},
      {16, 0xcbb8a88978f94f75ULL, 0x9f5b9bfb410b6e07ULL},
      {31, 0x9a9b0a4f50f70e65ULL, 0x929a49c485816558ULL},
      {32, 0x5adf1a785b5638faULL, 0x77caf3282d0e0c88ULL},
      {33, 0xa14e648e7d63be7cULL, 0x6303379d37acb024ULL},
      {36, 0xeea27b75cdc88ab8ULL, 0xadda47a26db7bcaeULL},
      {40, 0x12641d206de9cd90ULL, 0xb4cfcba27854c65eULL},
      {63, 0xe20bf64dcfefdc04ULL, 0x2e8c10ec67156bd0ULL},
      {64, 0x4b4d0abc7c1baa44ULL, 0x68cc87d87365cfe2ULL},
      {65, 0xa3a9a63c627cf8dcULL, 0x3794eb5fd78590a5ULL},
      {100, 0x920474740febe77dULL, 0x4fda1beb903e8ddaULL},
      {299, 0x72728782de6d26f2ULL, 0x246e5c9d0da4ebe8ULL},
      {300, 0x59502e340eb836e5ULL, 0x115369678109f447ULL},
  };
  std::vector<unsigned char> bytes(300);
  Random random(1);
  for (unsigned char& byte : bytes) {
    byte = static_cast<unsigned char>(random.next());
  }
  for (const Known& expected : known) {
    EXPECT_EQ(Xxh64::hash(bytes.data(), expected.size), expected.unseeded) << expected.size;
    EXPECT_EQ(Xxh64::hash(bytes.data(), expected.size, 2654435761), expected.seeded)
        << expected.size;
  }
  EXPECT_EQ(Xxh64::hash("abc", 3), 0x44BC2CF5AD770999ULL);  // As published.
}

TEST(GuestRandom, BoundedNumbersStayBelowTheBoundAndReachAll) {
  Random random(7);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(random.below(10));
  }
  EXPECT_EQ(seen.size(), 10);
  EXPECT_EQ(*seen.rbegin(), 9);
}

TEST(GuestWriter, FormatsValuesInOrder) {
  char buffer[100];
  Writer out(buffer, sizeof(buffer));
  out.format("{} of {}: {}, {}{}", std::uint64_t{0}, UINT64_MAX, -5, Hex{0xabc, 4}, Text("!"));
  EXPECT_EQ(to_string(out.text()), "0 of 18446744073709551615: -5, 0abc!");
}

TEST(GuestWriter, DropsWhatDoesNotFitAndRemembers) {
  char buffer[4] = {'.', '.', '.', '.'};
  Writer out(buffer, 3);
  out.put("ab");
  EXPECT_FALSE(out.overflowed());
  out.put("cd");
  EXPECT_TRUE(out.overflowed());
  EXPECT_EQ(to_string(out.text()), "abc");
  EXPECT_EQ(buffer[3], '.');
}

TEST(GuestText, NumbersAreDecimalAndDoNotOverflow) {
  std::uint64_t value = 42;
  for (const char* const bad :
       {"", "-1", "1x", " 1", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_FALSE(parse_number(bad, value)) << bad;
    EXPECT_EQ(value, 42);
  }
  EXPECT_TRUE(parse_number("18446744073709551615", value));
  EXPECT_EQ(value, UINT64_MAX);
  EXPECT_TRUE(parse_number("0", value));
  EXPECT_EQ(value, 0);
}

TEST(GuestText, WordsSplitAtSpaceAndKeepTheRest) {
  Words words("put  key a value  with spaces ");
  EXPECT_EQ(to_string(words.next()), "put");
  EXPECT_EQ(to_string(words.next()), "key");
  EXPECT_EQ(to_string(words.rest()), "a value  with spaces ");
  Words none("  ");
  EXPECT_TRUE(none.next().empty());
  EXPECT_TRUE(none.next().empty());
}

TEST(GuestText, OptionsAreWholeWordsAndTheLastOneCounts) {
  const Text text = "begin=1 xbegin=2 begin= begin=3 beginning=4";
  EXPECT_EQ(to_string(option(text, "begin")), "3");
  EXPECT_EQ(option(text, "end").data, nullptr);
  std::uint64_t value = 9;
  EXPECT_TRUE(number_option(text, "end", value));
  EXPECT_EQ(value, 9);
  EXPECT_TRUE(number_option(text, "begin", value));
  EXPECT_EQ(value, 3);
  EXPECT_FALSE(number_option("end=x", "end", value));
  EXPECT_FALSE(number_option("end=", "end", value));
}

TEST(PagetoucherContent, RandomOrderVisitsEachPageOnce) {
  for (const std::uint64_t count : {1U, 2U, 3U, 7U, 64U, 65U, 1000U, 4097U}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const pagetoucher::Permutation order(count, seed);
      std::set<std::uint64_t> seen;
      for (std::uint64_t i = 0; i < count; ++i) {
        seen.insert(order.slot(i));
      }
      ASSERT_EQ(seen.size(), count) << count << " " << seed;
      ASSERT_LT(*seen.rbegin(), count);
    }
  }
}

TEST(PagetoucherContent, RandomOrderIsNotNearlySequential) {
  const pagetoucher::Permutation order(4096, 1);
  int neighbours = 0;
  for (std::uint64_t i = 1; i < 4096; ++i) {
    const std::uint64_t a = order.slot(i - 1), b = order.slot(i);
    neighbours += a - b == 1 || b - a == 1 ? 1 : 0;
  }
  EXPECT_LT(neighbours, 40);
}

TEST(PagetoucherContent, ChosenPagesAreThePercentageAskedFor) {
  for (const std::uint64_t percent : {0U, 10U, 50U, 100U}) {
    std::uint64_t chosen = 0;
    for (std::uint64_t page = 0; page < 10'000; ++page) {
      chosen += pagetoucher::is_chosen(page, 1, percent) ? 1U : 0U;
    }
    EXPECT_NEAR(static_cast<double>(chosen), static_cast<double>(percent) * 100, 200);
  }
}

TEST(PagetoucherContent, FilledPagesAreNeverZeroAndDifferFromEachOther) {
  using pagetoucher::Kind;
  std::set<std::uint64_t> hashes;
  for (const Kind kind : {Kind::kRandom, Kind::kText, Kind::kPointers, Kind::kMixed}) {
    for (std::uint64_t page = 0; page < 30; ++page) {
      std::uint64_t words[pagetoucher::kPageWords];
      pagetoucher::fill_page(words, page, 1, kind);
      EXPECT_NE(words[0], 0);
      hashes.insert(Xxh64::hash(words, sizeof(words)));
    }
  }
  // A mixed page is the page of its kind.
  EXPECT_EQ(hashes.size(), 90);
}

TEST(KvstoreData, KeysAreDifferentAndValuesFitTheLimits) {
  std::set<std::string> keys;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    char key[kvstore::kKeyBytesMax], value[kvstore::kValueBytesMax];
    Writer key_out(key, sizeof(key)), value_out(value, sizeof(value));
    kvstore::put_key(key_out, i, 1);
    kvstore::put_value(value_out, i, 1);
    ASSERT_FALSE(key_out.overflowed() || value_out.overflowed());
    ASSERT_TRUE(keys.insert(to_string(key_out.text())).second);
    ASSERT_EQ(value[0], '{');
    ASSERT_EQ(value[value_out.size() - 1], '}');
    ASSERT_GE(value_out.size(), 150);
    ASSERT_LE(value_out.size(), 1200);
  }
}

}  // namespace
}  // namespace stasis::guest
