// The committed corpus of the fuzzers of a Linux guest's memory and of the ELF files around it, in
// every build.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "fuzz/linux_vm_targets.h"

namespace stasis::fuzz {
namespace {

int run_all(const std::string& name, void (*run)(std::span<const std::byte>)) {
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
TEST(LinuxVmFuzzCorpus, EverySavedAddressSpaceIsRefusedOrAsGoodAsAnyOther) {
  EXPECT_GE(run_all("address_space", address_space), 14);
}

TEST(LinuxVmFuzzCorpus, EveryProgramIsRefusedOrLoadedIntoAGuestThatCanBeSaved) {
  EXPECT_GE(run_all("program_image", program_image), 17);
}

TEST(LinuxVmFuzzCorpus, EveryFileIsSearchedForAFunctionInItsBounds) {
  EXPECT_GE(run_all("function_lookup", function_lookup), 12);
}

}  // namespace
}  // namespace stasis::fuzz
