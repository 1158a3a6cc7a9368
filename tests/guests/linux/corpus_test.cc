// The committed corpus of the fuzzers of the Linux guest's kernel, in every build.
#include <gtest/gtest.h>

#include "fuzz/linux_targets.h"
#include "tests/support/fuzz_corpus.h"

namespace stasis::fuzz {
namespace {

using stasis::testing::run_corpus;

// The properties abort when they do not hold, as they do in a fuzzer.
TEST(LinuxFuzzCorpus, EverySequenceOfCallsIsAnsweredAndSurvivesASave) {
  EXPECT_GE(run_corpus("linux_syscalls", linux_syscalls), 5);
}

TEST(LinuxFuzzCorpus, EveryStateIsRefusedOrAsGoodAsAnyOther) {
  EXPECT_GE(run_corpus("linux_state", linux_state), 5);
}

}  // namespace
}  // namespace stasis::fuzz
