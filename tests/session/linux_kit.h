// What the tests of sessions with Linux programs have in common.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"

namespace stasis::session {

inline constexpr std::chrono::nanoseconds kWait = std::chrono::seconds(20);

// A backend, and a directory that is removed with everything in it. Skips where there is no KVM.
class LinuxTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::unique_ptr<Session> launch(const std::string& program,
                                  const std::vector<std::string>& arguments = {},
                                  std::uint64_t memory_bytes = std::uint64_t{256} << 20U);
  // A program of tests/guests/linux/vm/programs, warm, saved as `name`.
  void save_warm(const std::string& name, const std::string& program = "echo_function");
  std::unique_ptr<Session> restore(const std::string& name, const RestoreOptions& options = {});
  static std::string ask(Session& session, std::string_view text);
  // All that can be used here, by name.
  [[nodiscard]] std::vector<std::string> policies() const;

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
};

}  // namespace stasis::session
