// What the tests of guest programs start from.
#pragma once

#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "tests/guests/running_guest.h"
#include "tests/support/must.h"

namespace stasis::guests {

// Guests on the host's hypervisor; skips where there is none.
class GuestProgramsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<HypervisorBackend>> backend = kvm::make_backend();
    if (!backend) {
      GTEST_SKIP() << "no KVM: " << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }
  test::RunningGuest start(const test::GuestOptions& options) {
    return must(test::RunningGuest::start(*backend_, options));
  }
  test::RunningGuest start_ready(const test::GuestOptions& options) {
    test::RunningGuest guest = start(options);
    must(guest.run_until(MachineEvent::Kind::kReady));
    return guest;
  }
  std::unique_ptr<HypervisorBackend> backend_;
};

// The value of "name=value" in a response.
inline std::string field(const std::string& response, const std::string& name) {
  std::istringstream words(response);
  for (std::string word; words >> word;) {
    if (word.rfind(name + "=", 0) == 0) {
      return word.substr(name.size() + 1);
    }
  }
  ADD_FAILURE() << "no " << name << "= in: " << response;
  return {};
}

}  // namespace stasis::guests
