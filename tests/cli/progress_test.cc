#include "cli/progress.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"

namespace stasis::cli {
namespace {

using testing::HasSubstr;

constexpr MonotonicNs kMillisecond = 1'000'000;
constexpr MonotonicNs kSecond = 1000 * kMillisecond;
constexpr std::uint64_t kMib = std::uint64_t{1} << 20U;

class ManualClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return now_; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override { return 0; }
  void advance(MonotonicNs ns) { now_ += ns; }

 private:
  MonotonicNs now_ = 77 * kSecond;
};

// What was written to a descriptor since the last look.
class Sink {
 public:
  Sink() : stream_(std::tmpfile()) { EXPECT_NE(stream_, nullptr); }
  ~Sink() { std::fclose(stream_); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  Sink(Sink&&) = delete;
  Sink& operator=(Sink&&) = delete;
  [[nodiscard]] int descriptor() const { return ::fileno(stream_); }
  std::string take() {
    const off_t end = ::lseek(descriptor(), 0, SEEK_CUR);
    std::string text(static_cast<std::size_t>(end - taken_), '\0');
    EXPECT_EQ(::pread(descriptor(), text.data(), text.size(), taken_), end - taken_);
    taken_ = end;
    return text;
  }

 private:
  std::FILE* stream_;
  off_t taken_ = 0;
};

class ProgressTest : public testing::Test {
 protected:
  [[nodiscard]] Progress make(ProgressMode mode) {
    return Progress("saving 'warm'", mode, clock_, sink_.descriptor());
  }
  ManualClock clock_;
  Sink sink_;
};

TEST_F(ProgressTest, WhatTakesLessThanASecondShowsNothing) {
  for (const ProgressMode mode : {ProgressMode::kTerminal, ProgressMode::kLog}) {
    Progress progress = make(mode);
    for (int i = 0; i < 9; ++i) {
      clock_.advance(100 * kMillisecond);
      progress.update(kMib, 10 * kMib);
      progress.tick();
    }
  }
  EXPECT_EQ(sink_.take(), "");
}

TEST_F(ProgressTest, ATerminalGetsOneLineThatIsRewrittenAndRemoved) {
  {
    Progress progress = make(ProgressMode::kTerminal);
    clock_.advance(kSecond);
    progress.update(5 * kMib, 20 * kMib);
    EXPECT_EQ(sink_.take(), "\r\033[Ksaving 'warm': 25 % (5 MiB of 20 MiB, 5 MiB/s)");
    clock_.advance(99 * kMillisecond);
    progress.update(6 * kMib, 20 * kMib);
    EXPECT_EQ(sink_.take(), "") << "more than ten times a second";
    clock_.advance(901 * kMillisecond);
    progress.update(20 * kMib, 20 * kMib);
    EXPECT_EQ(sink_.take(), "\r\033[Ksaving 'warm': 100 % (20 MiB of 20 MiB, 10 MiB/s)");
  }
  EXPECT_EQ(sink_.take(), "\r\033[K");
}

TEST_F(ProgressTest, APipeGetsALineEveryTenSecondsAndNoControlCharacters) {
  {
    Progress progress = make(ProgressMode::kLog);
    clock_.advance(2 * kSecond);
    progress.tick();
    EXPECT_EQ(sink_.take(), "stasis: saving 'warm' ... 2 s\n");
    clock_.advance(9 * kSecond);
    progress.tick();
    EXPECT_EQ(sink_.take(), "");
    clock_.advance(kSecond);
    progress.update(3 * kMib, 4 * kMib);
    EXPECT_EQ(sink_.take(), "stasis: saving 'warm': 75 % (3 MiB of 4 MiB, 256 KiB/s)\n");
  }
  EXPECT_EQ(sink_.take(), "") << "the lines of a log stay";
}

TEST_F(ProgressTest, SwitchedOffItShowsNothingHoweverLongItTakes) {
  {
    Progress progress = make(ProgressMode::kOff);
    for (std::uint64_t i = 0; i < 100; ++i) {
      clock_.advance(kSecond);
      progress.update(i * kMib, 100 * kMib);
      progress.tick();
    }
  }
  EXPECT_EQ(sink_.take(), "");
}

TEST_F(ProgressTest, AmountsThatMakeNoSenseAreShownAsFarAsTheyDo) {
  Progress progress = make(ProgressMode::kLog);
  clock_.advance(kSecond);
  progress.update(0, 0);  // An empty amount is done.
  EXPECT_THAT(sink_.take(), HasSubstr("100 %"));
  clock_.advance(10 * kSecond);
  progress.update(3 * kMib, 2 * kMib);
  EXPECT_THAT(sink_.take(), HasSubstr("100 % (2 MiB of 2 MiB"));
}

TEST_F(ProgressTest, ASinkThatIsGoneIsNoError) {
  {
    Progress progress("lost", ProgressMode::kTerminal, clock_, -1);
    clock_.advance(2 * kSecond);
    progress.tick();
  }
  EXPECT_EQ(sink_.take(), "");
}

// Standard error as something else, for the life of the object.
class Redirected {
 public:
  explicit Redirected(int descriptor) : before_(::dup(STDERR_FILENO)) {
    EXPECT_GE(::dup2(descriptor, STDERR_FILENO), 0);
  }
  ~Redirected() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
  }
  Redirected(const Redirected&) = delete;
  Redirected& operator=(const Redirected&) = delete;
  Redirected(Redirected&&) = delete;
  Redirected& operator=(Redirected&&) = delete;

 private:
  int before_;
};

class ProgressModeTest : public testing::Test {
 protected:
  static ProgressMode mode_on(int descriptor, bool quiet) {
    const Redirected redirected(descriptor);
    Output output(OutputMode::kText);
    Context context{.output = output, .quiet = quiet, .guest_arguments = {}, .backends = {}};
    return context.progress_mode();
  }
};

TEST_F(ProgressModeTest, AFileOrPipeIsALogAndQuietIsQuiet) {
  const Sink sink;
  EXPECT_EQ(mode_on(sink.descriptor(), false), ProgressMode::kLog);
  EXPECT_EQ(mode_on(sink.descriptor(), true), ProgressMode::kOff);
}

TEST_F(ProgressModeTest, ATerminalIsALineAndQuietIsQuiet) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || ::grantpt(terminal) != 0 || ::unlockpt(terminal) != 0) {
    FAIL() << "this host gives no pseudo-terminal";
  }
  const int user_side = ::open(::ptsname(terminal), O_RDWR | O_NOCTTY);
  ASSERT_GE(user_side, 0);
  EXPECT_EQ(mode_on(user_side, false), ProgressMode::kTerminal);
  EXPECT_EQ(mode_on(user_side, true), ProgressMode::kOff);
  ::close(user_side);
  ::close(terminal);
}

}  // namespace
}  // namespace stasis::cli
