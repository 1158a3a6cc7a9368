// The committed corpus of the fuzzers of the Linux guest's kernel, in every build.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "fuzz/linux_targets.h"

namespace stasis::fuzz {
namespace {

int run_all(const char* name, void (*run)(std::span<const std::byte>)) {
  int inputs = 0;
  const auto folder = std::filesystem::path(STASIS_SOURCE_DIR) / "fuzz" / "corpus" / name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    SCOPED_TRACE(entry.path().string());
    run(std::as_bytes(std::span(text)));
    ++inputs;
  }
  return inputs;
}

// The properties abort when they do not hold, as they do in a fuzzer.
TEST(LinuxFuzzCorpus, EverySequenceOfCallsIsAnsweredAndSurvivesASave) {
  EXPECT_GE(run_all("linux_syscalls", linux_syscalls), 5);
}

TEST(LinuxFuzzCorpus, EveryStateIsRefusedOrAsGoodAsAnyOther) {
  EXPECT_GE(run_all("linux_state", linux_state), 5);
}

}  // namespace
}  // namespace stasis::fuzz
