#include "cli/requests.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>

#include "cli/interrupt.h"
#include "cli/periodic_saves.h"
#include "cli/quantity.h"
#include "core/unique_fd.h"

namespace stasis::cli {

namespace {

std::vector<std::byte> to_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Error too_large(const std::string& label, std::size_t bytes_max) {
  return Error{Errc::kInvalidArgument, 0,
               fmt::format("request {}: larger than the guest's mailbox, which holds {} bytes",
                           label, bytes_max)};
}

Result<std::vector<std::byte>> read_all(int fd, const std::string& label, std::size_t bytes_max) {
  std::vector<std::byte> bytes;
  std::array<std::byte, 16384> buffer = {};
  while (true) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR && !interrupted()) {
      continue;
    }
    if (count < 0) {
      return errno_error(errno, "request " + label);
    }
    if (count == 0) {
      return bytes;
    }
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + count);
    if (bytes.size() > bytes_max) {
      return too_large(label, bytes_max);
    }
  }
}

Result<std::vector<std::byte>> read_text(const std::string& text, std::size_t bytes_max) {
  if (text.size() > bytes_max) {
    return too_large(fmt::format("of {} bytes", text.size()), bytes_max);
  }
  return to_bytes(text);
}

Result<std::vector<std::byte>> read_source(const std::string& source, std::size_t bytes_max) {
  if (source == "-") {
    return read_all(STDIN_FILENO, "from standard input", bytes_max);
  }
  // "@@text" is the text "@text", so that every request can be written.
  if (source.rfind("@@", 0) == 0) {
    return read_text(source.substr(1), bytes_max);
  }
  if (!source.empty() && source.front() == '@') {
    const std::string path = source.substr(1);
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.is_open()) {
      Error error = errno_error(errno, "request file '" + path + "'");
      error.code = errno == ENOENT ? Errc::kNotFound : error.code;
      return error;
    }
    return read_all(fd.get(), "from '" + path + "'", bytes_max);
  }
  return read_text(source, bytes_max);
}

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return text;
}

}  // namespace

Result<std::vector<Request>> read_requests(const std::vector<std::string>& sources,
                                           std::size_t bytes_max) {
  std::vector<Request> requests;
  for (const std::string& source : sources) {
    STASIS_ASSIGN(std::vector<std::byte> bytes, read_source(source, bytes_max));
    requests.push_back({.label = source, .bytes = std::move(bytes)});
  }
  return requests;
}

Result<std::vector<Exchange>> exchange(session::Session& session,
                                       const std::vector<Request>& requests,
                                       std::chrono::nanoseconds timeout, Context& context,
                                       PeriodicSaves* saves) {
  std::vector<Exchange> exchanges;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Progress progress(fmt::format("waiting for response {} of {}", i + 1, requests.size()),
                      context.progress_mode());
    bool posted = false;
    const auto wait = [&](std::chrono::nanoseconds slice) {
      if (posted) {
        return session.take_response(slice);
      }
      posted = true;
      return session.request(requests[i].bytes, slice);
    };
    auto response = wait_and_save(saves, timeout, wait, [&] { progress.tick(); });
    if (!response) {
      return std::move(response).error().with_context(fmt::format("request {}", i + 1));
    }
    exchanges.push_back({.label = requests[i].label,
                         .request_bytes = requests[i].bytes.size(),
                         .response = *std::move(response)});
  }
  return exchanges;
}

void print_answers(const std::vector<Exchange>& exchanges, Output& output) {
  if (exchanges.size() == 1 && !output.stdout_is_terminal()) {
    output.guest_output(as_text(exchanges.front().response.bytes));
  } else {
    print_exchanges(exchanges, output);
  }
}

void print_exchanges(const std::vector<Exchange>& exchanges, Output& output) {
  for (const Exchange& exchange : exchanges) {
    const std::string_view text = as_text(exchange.response.bytes);
    std::string line = printable(text);
    if (line.empty() || line.back() != '\n') {
      line += '\n';
    }
    output.text(line);
  }
}

nlohmann::ordered_json to_json(const std::vector<Exchange>& exchanges) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Exchange& exchange : exchanges) {
    const std::string_view text = as_text(exchange.response.bytes);
    nlohmann::ordered_json item = {
        {"request_bytes", exchange.request_bytes},
        {"response_bytes", exchange.response.bytes.size()},
        {"latency_ns", exchange.response.responded_at - exchange.response.requested_at}};
    // Text as text; what is not UTF-8 in full as hexadecimal digits, so that nothing is lost.
    if (is_utf8(text)) {
      item["response"] = std::string(text);
    } else {
      item["response_hex"] = hex(exchange.response.bytes);
    }
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace stasis::cli
