#include "cli/output.h"

#include <set>

#include <gtest/gtest.h>

#include "cli/exit_code.h"
#include "cli/render.h"

namespace stasis::cli {
namespace {

TEST(Printable, KeepsTextAndShowsWhatCouldSteerATerminal) {
  EXPECT_EQ(printable("plain\ttext\n"), "plain\ttext\n");
  EXPECT_EQ(printable("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
            "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(printable("\033[2J"), "\\x1b[2J");
  EXPECT_EQ(printable(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b");  // U+009B, a one-character escape sequence.
}

TEST(Printable, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("a\xFF"), "a\\xff");
  EXPECT_EQ(printable("\xC3"), "\\xc3");                    // Truncated.
  EXPECT_EQ(printable("\xC0\x80"), "\\xc0\\x80");           // Overlong.
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // Surrogate.
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));                // Above U+10FFFF.
  EXPECT_TRUE(is_utf8("\xF4\x8F\xBF\xBF"));
}

TEST(ExitCodes, AreDocumentedOnceEachAndAscend) {
  int previous = -1;
  for (const ExitCodeInfo& info : all_exit_codes()) {
    EXPECT_GT(static_cast<int>(info.code), previous);
    EXPECT_FALSE(info.meaning.empty());
    previous = static_cast<int>(info.code);
  }
}

TEST(ExitCodes, OfALinuxProgramAreThoseThatAShellGives) {
  EXPECT_EQ(exit_code_of_program(0), ExitCode::kOk);
  EXPECT_EQ(static_cast<int>(exit_code_of_program(77)), 77);
  EXPECT_EQ(static_cast<int>(exit_code_of_program(256 + 3)), 3);
  EXPECT_EQ(static_cast<int>(exit_code_of_signal(11)), 139);
  EXPECT_EQ(static_cast<int>(exit_code_of_signal(64)), 192);
}

TEST(ExitCodes, NeverReportAnErrorAsSuccessOrAsTheAnswerNo) {
  std::set<std::string_view> spellings;
  for (int i = 0; i <= static_cast<int>(Errc::kGuestFault); ++i) {
    const auto code = static_cast<Errc>(i);
    EXPECT_NE(exit_code_for(code), ExitCode::kOk);
    EXPECT_NE(exit_code_for(code), ExitCode::kNegative);
    EXPECT_NE(json_code(code), "unknown");
    EXPECT_TRUE(spellings.insert(json_code(code)).second) << json_code(code);
  }
}

TEST(Quantile, InterpolatesBetweenOrderStatistics) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.5), 1.5);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  EXPECT_DOUBLE_EQ(quantile({0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 0.9), 90);
}

}  // namespace
}  // namespace stasis::cli
