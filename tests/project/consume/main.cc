// A warm guest saved and restored through the installed libraries, on the backend that every host
// has. Prints "restored with the same memory" when the restored guest goes on counting where the
// saved one stopped.
#include <chrono>
#include <iostream>
#include <string>

#include "session/backends.h"
#include "session/session.h"

namespace {

using stasis::Result;
using stasis::session::LaunchOptions;
using stasis::session::Session;

constexpr auto kTimeout = std::chrono::seconds(10);

Result<std::string> ask(Session& session) {
  const std::string question = "how many?";
  STASIS_ASSIGN(const stasis::session::Response response,
                session.request(std::as_bytes(std::span(question)), kTimeout));
  return std::string(reinterpret_cast<const char*>(response.bytes.data()), response.bytes.size());
}

Result<void> demonstrate(const std::string& path) {
  STASIS_ASSIGN(auto backend, stasis::session::make_backend("mock"));
  LaunchOptions options;
  options.guest = "toy:counter";
  options.memory_bytes = std::uint64_t{16} << 20U;
  {
    STASIS_ASSIGN(auto session, Session::launch(*backend, options));
    STASIS_TRY(session->wait_ready(kTimeout));
    STASIS_ASSIGN(const std::string answer, ask(*session));
    std::cout << "before: " << answer << '\n';
    STASIS_ASSIGN(const auto report, session->save(path, {}));
    std::cout << "saved " << report.written_bytes << " bytes\n";
  }
  STASIS_ASSIGN(auto session, Session::restore(*backend, path, {}));
  STASIS_ASSIGN(const std::string answer, ask(*session));
  std::cout << "after: " << answer << '\n';
  if (answer.find("count=00000002") == std::string::npos) {
    return stasis::Error{stasis::Errc::kMismatch, 0, "the restored guest lost count"};
  }
  std::cout << "restored with the same memory\n";
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: consumer SNAPSHOT\n";
    return 2;
  }
  if (Result<void> outcome = demonstrate(argv[1]); !outcome) {
    std::cerr << "consumer: " << outcome.error().message << '\n';
    return 1;
  }
  return 0;
}
