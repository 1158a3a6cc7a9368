// The program `stasis` on the mock everywhere, and on KVM where the host has it: what the tests of
// its flow start from.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace stasis::cli::test {

struct Flavour {
  std::string backend;
  std::string guest;
  std::string name;
};
inline void PrintTo(const Flavour& flavour, std::ostream* out) {
  *out << flavour.name;
}

class Flow : public ::testing::TestWithParam<Flavour> {
 protected:
  void SetUp() override {
    if (GetParam().backend == "kvm" && !why_no_kvm().empty()) {
      GTEST_SKIP() << why_no_kvm();
    }
  }

  // Runs a command that starts a guest, on this flavour's backend.
  Outcome guest(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--backend", GetParam().backend, "--json"});
    return run(arguments, {.directory = directory_.path()});
  }
  Outcome stasis(const std::vector<std::string>& arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  Outcome run_text(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--backend", GetParam().backend});
    return stasis(arguments);
  }
  nlohmann::json ok(const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    return outcome.json();
  }
  nlohmann::json save_warm(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run", GetParam().guest, "--memory", "16M", "--save",
                                          name,  "--request",      "one"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return ok(guest(arguments));
  }

  TemporaryDirectory directory_;
};

inline std::string response(const nlohmann::json& requests, std::size_t index) {
  return requests.at(index).at("response").get<std::string>();
}

}  // namespace stasis::cli::test
