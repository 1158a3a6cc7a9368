// The fuzzers' committed corpus, in every build: what a fuzzer once found interesting stays so.
#include <gtest/gtest.h>

#include "fuzz/targets.h"
#include "tests/support/fuzz_corpus.h"

namespace stasis::fuzz {
namespace {

struct Target {
  const char* name;
  void (*run)(std::span<const std::byte> input);
};
void PrintTo(const Target& target, std::ostream* out) {
  *out << target.name;
}

class FuzzCorpus : public ::testing::TestWithParam<Target> {};

// The properties abort when they do not hold, as they do in a fuzzer.
TEST_P(FuzzCorpus, StillHasAllItsProperties) {
  EXPECT_GE(stasis::testing::run_corpus(GetParam().name, GetParam().run), 5);
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus,
                         ::testing::Values(Target{"manifest", manifest}, Target{"index", index},
                                           Target{"page_codec", page_codec},
                                           Target{"elf_image", elf_image},
                                           Target{"doorbell_state", doorbell_state}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace stasis::fuzz
