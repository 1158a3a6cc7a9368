// The committed inputs of the fuzzers, for tests that run them in every build.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include <gtest/gtest.h>

namespace stasis::testing {

// Calls `run` with every file of fuzz/corpus/`name`; returns how many there are. The including
// target defines STASIS_SOURCE_DIR.
inline int run_corpus(const std::string& name, void (*run)(std::span<const std::byte>)) {
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

}  // namespace stasis::testing
