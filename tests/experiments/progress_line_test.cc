#include "experiments/harness/progress_line.h"

#include <cstdio>
#include <string>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

class ManualClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return now_; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override { return 0; }
  void advance(std::int64_t ns) { now_ += ns; }

 private:
  MonotonicNs now_ = kSecond;
};

std::string text_of(std::FILE* stream) {
  std::string text(static_cast<std::size_t>(std::ftell(stream)), '\0');
  std::rewind(stream);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), stream), text.size());
  return text;
}

TEST(Progress, ShowsShareCountAndTimeLeft) {
  EXPECT_EQ(format_progress("run", {.done = 25, .total = 100, .elapsed_ns = 10 * kSecond}, "a/b"),
            "run [#####---------------] 25/100, 30 s left: a/b");
}

TEST(Progress, RowsOfAnEarlierRunDoNotMakeThisOneLookFast) {
  // 10 of 30 seconds' items made in this run: 50 left at 1 s each.
  EXPECT_EQ(
      format_progress(
          "run", {.done = 50, .total = 100, .done_before = 40, .elapsed_ns = 10 * kSecond}, ""),
      "run [##########----------] 50/100, 50 s left");
}

TEST(Progress, DurationsReadAsPeopleSayThem) {
  EXPECT_EQ(format_duration(45 * kSecond), "45 s");
  EXPECT_EQ(format_duration(200 * kSecond), "3 min 20 s");
  EXPECT_EQ(format_duration(3720 * kSecond), "1 h 02 min");
  EXPECT_EQ(format_duration(-1), "0 s");
}

TEST(Progress, APipeGetsPlainLinesAndNothingInTheFirstSecond) {
  std::FILE* stream = std::tmpfile();
  ASSERT_NE(stream, nullptr);
  {
    ManualClock clock;
    ProgressLine line("run", stream, clock);
    line.begin(0, 10);
    line.update(1, "early");
    clock.advance(2 * kSecond);
    line.update(2, "shown");
    clock.advance(kSecond);
    line.update(3, "too soon after");
    clock.advance(10 * kSecond);
    line.update(4, "later");
  }
  EXPECT_EQ(text_of(stream),
            "run [####----------------] 2/10, 8 s left: shown\n"
            "run [########------------] 4/10, 19 s left: later\n");
  std::fclose(stream);
}

}  // namespace
}  // namespace stasis::experiments
