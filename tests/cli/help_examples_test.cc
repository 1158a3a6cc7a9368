// The examples of --help are promises: they run, in the order of the commands, in one directory.
#include <sstream>

#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) {
    if (word.front() == '"') {  // Up to the next quotation mark, as for a shell.
      std::string rest;
      std::getline(in, rest, '"');
      word = word.substr(1) + rest;
    }
    words.push_back(word);
  }
  return words;
}

std::vector<std::string> examples_of(const std::vector<std::string>& command) {
  std::vector<std::string> arguments = command;
  arguments.emplace_back("--help");
  std::istringstream help(run(arguments).out);
  std::vector<std::string> examples;
  const std::string prompt = "  $ stasis ";
  for (std::string line; std::getline(help, line);) {
    if (line.rfind(prompt, 0) == 0) {
      examples.push_back(line.substr(prompt.size()));
    }
  }
  return examples;
}

TEST(HelpExamples, AllRun) {
  if (!why_no_kvm().empty()) {
    GTEST_SKIP() << why_no_kvm();
  }
  TemporaryDirectory directory;
  int count = 0;
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"doctor"},
                                             {"run"},
                                             {"restore"},
                                             {"invoke"},
                                             {"bench-reset"},
                                             {"inspect"},
                                             {"verify"},
                                             {"verify-diff"},
                                             {"diff"},
                                             {"merge"},
                                             {"policy"},
                                             {"trace"}}) {
    for (const std::string& example : examples_of(command)) {
      SCOPED_TRACE(example);
      ++count;
      const Outcome outcome = run(words_of(example), {.directory = directory.path()});
      // Two snapshots may differ: that is an answer.
      const bool ok = outcome.exit_code == 0 ||
                      (command == std::vector<std::string>{"diff"} && outcome.exit_code == 1);
      EXPECT_TRUE(ok) << outcome.exit_code << outcome.out << outcome.err;
    }
  }
  EXPECT_GE(count, 12);
}

TEST(HelpExamples, OfExperimentList) {
  const Outcome outcome = run({"experiment", "list", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_FALSE(outcome.json().at("experiments").empty());
}

}  // namespace
}  // namespace stasis::cli::test
