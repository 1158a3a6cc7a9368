#include "cli/table.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(Table, PadsEveryColumnToItsWidestCell) {
  Table table({"name", "size"}, {Align::kLeft, Align::kRight});
  table.add_row({"a", "1"});
  table.add_row({"longer", "1000"});
  EXPECT_EQ(table.render(), "name    size\na          1\nlonger  1000\n");
}

TEST(Table, CountsNeitherColoursNorContinuationBytes) {
  Table table({}, {});
  table.add_row({"\033[31m\xC3\xA9\033[0m", "x"});
  table.add_row({"ab", "y"});
  EXPECT_EQ(table.render(2), "  \033[31m\xC3\xA9\033[0m   x\n  ab  y\n");
}

TEST(Table, LeavesNoTrailingSpaces) {
  Table table({"a", "b"});
  table.add_row({"long cell", ""});
  EXPECT_EQ(table.render(), "a          b\nlong cell\n");
}

}  // namespace
}  // namespace stasis::cli
