// Sessions of toy guests on the mock, in a directory of their own.
#pragma once

#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"

namespace stasis::session {

inline constexpr std::chrono::nanoseconds kWait = std::chrono::seconds(20);

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::string text_of(const Response& response) {
  return {reinterpret_cast<const char*>(response.bytes.data()), response.bytes.size()};
}

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& result = (expression);                             \
    ASSERT_TRUE(result.has_value()) << result.error().to_string(); \
  } while (false)

class MockSession : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "stasis-session-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    BackendOptions options;
    options.mock_page_size_bytes = GetParam();
    auto backend = make_backend("mock", options);
    ASSERT_OK(backend);
    backend_ = *std::move(backend);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<std::unique_ptr<Session>> launch(const std::string& toy, std::uint32_t vcpus = 1) {
    LaunchOptions options;
    options.guest = "toy:" + toy;
    options.memory_bytes = std::uint64_t{16} << 20U;
    options.vcpus = vcpus;
    return Session::launch(*backend_, options);
  }
  Result<std::unique_ptr<Session>> restore(const std::string& name,
                                           const RestoreOptions& options = {}) {
    return Session::restore(*backend_, path(name), options);
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  static void expect_count(Session& session, int count) {
    const auto response = session.request(bytes_of("next"), kWait);
    ASSERT_OK(response);
    std::string digits = std::to_string(count);
    digits.insert(0, 8 - digits.size(), '0');
    EXPECT_EQ(text_of(*response), "count=" + digits);
  }

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
};

}  // namespace stasis::session
