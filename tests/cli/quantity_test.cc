#include "cli/quantity.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(Quantity, ReadsSizesWithBinarySuffixes) {
  EXPECT_EQ(*parse_size("0"), 0U);
  EXPECT_EQ(*parse_size("4096"), 4096U);
  EXPECT_EQ(*parse_size("64K"), 65536U);
  EXPECT_EQ(*parse_size("256M"), 256U << 20U);
  EXPECT_EQ(*parse_size("1G"), 1ULL << 30U);
  EXPECT_EQ(*parse_size("2T"), 2ULL << 40U);
  EXPECT_EQ(*parse_size("3MiB"), 3ULL << 20U);
  EXPECT_EQ(*parse_size("18446744073709551615"), UINT64_MAX);
}

TEST(Quantity, RefusesWhatIsNotASizeAndQuotesIt) {
  for (const char* text : {"", " ", "-1", "+1", "1.5G", "1 G", "G", "1GB", "1g", "0x10", "1GG",
                           "18446744073709551616", "16777216T", "99999999999999999999999"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.has_value()) << text;
    EXPECT_EQ(size.error().code, Errc::kInvalidArgument);
    EXPECT_NE(size.error().message.find("'" + std::string(text) + "'"), std::string::npos)
        << size.error().message;
  }
}

TEST(Quantity, ReadsDurations) {
  using std::chrono::nanoseconds;
  EXPECT_EQ(*parse_duration("250ms"), nanoseconds(250'000'000));
  EXPECT_EQ(*parse_duration("30s"), nanoseconds(30'000'000'000));
  EXPECT_EQ(*parse_duration("2"), nanoseconds(2'000'000'000));
  EXPECT_EQ(*parse_duration("2m"), nanoseconds(120'000'000'000));
  EXPECT_EQ(*parse_duration("1h"), nanoseconds(3'600'000'000'000));
  EXPECT_EQ(*parse_duration("10us"), nanoseconds(10'000));
  EXPECT_EQ(*parse_duration("7ns"), nanoseconds(7));
}

TEST(Quantity, RefusesDurationsThatOverflowOrMakeNoSense) {
  for (const char* text : {"", "s", "-1s", "1.5s", "1d", "9223372037", "3000000h"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
}

TEST(Quantity, WritesBytesWithThreeDigits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(256ULL << 20U), "256 MiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16 EiB");
}

TEST(Quantity, WritesDurationsWithThreeDigits) {
  EXPECT_EQ(format_duration(0), "0 ns");
  EXPECT_EQ(format_duration(999), "999 ns");
  EXPECT_EQ(format_duration(1'230), "1.23 us");
  EXPECT_EQ(format_duration(45'600'000), "45.6 ms");
  EXPECT_EQ(format_duration(-2'500'000'000), "-2.5 s");
}

TEST(Quantity, WritesTimesInUtc) {
  EXPECT_EQ(format_time(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(format_time(1'000'000'000'000'000'000), "2001-09-09 01:46:40 UTC");
}

}  // namespace
}  // namespace stasis::cli
