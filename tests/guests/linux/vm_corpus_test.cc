// The committed corpus of the fuzzers of a Linux guest's memory and of the ELF files around it, in
// every build.
#include <gtest/gtest.h>

#include "fuzz/linux_vm_targets.h"
#include "tests/support/fuzz_corpus.h"

namespace stasis::fuzz {
namespace {

using stasis::testing::run_corpus;

// The properties abort when they do not hold, as they do in a fuzzer.
TEST(LinuxVmFuzzCorpus, EverySavedAddressSpaceIsRefusedOrAsGoodAsAnyOther) {
  EXPECT_GE(run_corpus("address_space", address_space), 14);
}

TEST(LinuxVmFuzzCorpus, EveryProgramIsRefusedOrLoadedIntoAGuestThatCanBeSaved) {
  EXPECT_GE(run_corpus("program_image", program_image), 17);
}

TEST(LinuxVmFuzzCorpus, EveryFileIsSearchedForAFunctionInItsBounds) {
  EXPECT_GE(run_corpus("function_lookup", function_lookup), 12);
}

}  // namespace
}  // namespace stasis::fuzz
