// The parts of the guest runtime that do not need a guest, checked on the host.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <xxhash.h>

#include "guests/programs/kvstore_data.h"
#include "guests/programs/pagetoucher_content.h"
#include "guests/runtime/hash.h"
#include "guests/runtime/text.h"

namespace stasis::guest {
namespace {

std::string to_string(Text text) {
  return {text.data, text.size};
}

TEST(GuestHash, EqualsTheReferenceForEveryTailLengthAndSeed) {
  std::vector<unsigned char> bytes(300);
  Random random(1);
  for (unsigned char& byte : bytes) {
    byte = static_cast<unsigned char>(random.next());
  }
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, UINT64_MAX}) {
      ASSERT_EQ(Xxh64::hash(bytes.data(), size, seed), XXH64(bytes.data(), size, seed)) << size;
    }
  }
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
