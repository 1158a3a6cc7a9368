// Requests for a guest from the command line, and its answers.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/result.h"
#include "guests/abi.h"
#include "session/session.h"

namespace stasis::cli {

class PeriodicSaves;  // cli/periodic_saves.h

// Value.
struct Request {
  std::string label;  // As on the command line, for messages.
  std::vector<std::byte> bytes;
};

// TEXT ("@@x" for the text "@x"), @FILE, or "-" for all of standard input. The mailbox's limit is
// enforced here already, so that an endless input is not read. Errors name the file and the limit.
Result<std::vector<Request>> read_requests(const std::vector<std::string>& sources,
                                           std::size_t bytes_max = abi::kRequestBytesMax);

// Value.
struct Exchange {
  std::string label;
  std::size_t request_bytes = 0;
  session::Response response;
};

// Sends every request in order and prints nothing; `timeout` holds for each. `saves`, which may be
// null, go on meanwhile.
Result<std::vector<Exchange>> exchange(session::Session& session,
                                       const std::vector<Request>& requests,
                                       std::chrono::nanoseconds timeout, Context& context,
                                       PeriodicSaves* saves = nullptr);

// Answers among other text: each as printable(), on lines of its own.
void print_exchanges(const std::vector<Exchange>& exchanges, Output& output);
// Answers alone: a single one byte by byte, unless standard output is a terminal.
void print_answers(const std::vector<Exchange>& exchanges, Output& output);
nlohmann::ordered_json to_json(const std::vector<Exchange>& exchanges);

}  // namespace stasis::cli
