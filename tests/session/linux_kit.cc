#include "tests/session/linux_kit.h"

#include <stdlib.h>

#include <filesystem>

#include "snapshot/policies/policy_catalog.h"
#include "tests/support/must.h"

namespace stasis::session {

namespace fs = std::filesystem;

void LinuxTest::SetUp() {
  auto backend = make_backend("kvm", {});
  if (!backend) {
    GTEST_SKIP() << backend.error().to_string();
  }
  backend_ = *std::move(backend);
  std::string pattern = (fs::temp_directory_path() / "stasis-linux-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
}

void LinuxTest::TearDown() {
  if (!directory_.empty()) {
    fs::remove_all(directory_);
  }
}

std::unique_ptr<Session> LinuxTest::launch(const std::string& program,
                                           const std::vector<std::string>& arguments,
                                           std::uint64_t memory_bytes) {
  LaunchOptions options;
  options.linux_program = LinuxOptions{.program = program, .allow_read = {"/usr"}};
  options.arguments = arguments;
  options.memory_bytes = memory_bytes;
  return must(Session::launch(*backend_, options));
}

void LinuxTest::save_warm(const std::string& name, const std::string& program) {
  auto session = launch(LINUX_PROGRAMS + program);
  must(session->wait_ready(kWait));
  must(session->save(path(name), {}));
}

std::unique_ptr<Session> LinuxTest::restore(const std::string& name,
                                            const RestoreOptions& options) {
  return must(Session::restore(*backend_, path(name), options));
}

std::string LinuxTest::ask(Session& session, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  const Response response = must(session.request(bytes, kWait));
  return {reinterpret_cast<const char*>(response.bytes.data()), response.bytes.size()};  // NOLINT
}

std::vector<std::string> LinuxTest::policies() const {
  std::vector<std::string> names;
  for (const Availability& policy : snapshot::list_policies(backend_->capabilities())) {
    if (policy.available) {
      names.push_back(policy.name);
    }
  }
  return names;
}

}  // namespace stasis::session
