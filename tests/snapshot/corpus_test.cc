// The fuzzers' committed corpus, in every build: what a fuzzer once found interesting stays so.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "fuzz/targets.h"

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
  const auto folder =
      std::filesystem::path(STASIS_SOURCE_DIR) / "fuzz" / "corpus" / GetParam().name;
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    SCOPED_TRACE(entry.path().string());
    GetParam().run(std::as_bytes(std::span(text.data(), text.size())));
    ++inputs;
  }
  EXPECT_GE(inputs, 5);
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus,
                         ::testing::Values(Target{"manifest", manifest}, Target{"index", index},
                                           Target{"page_codec", page_codec},
                                           Target{"elf_image", elf_image},
                                           Target{"doorbell_state", doorbell_state}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace stasis::fuzz
