#include "cli/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace stasis::cli {

namespace {

bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  const char* term = std::getenv("TERM");          // NOLINT(concurrency-mt-unsafe)
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') &&
         (term == nullptr || std::strcmp(term, "dumb") != 0);
}

std::string_view sequence(Style style) {
  switch (style) {
    case Style::kPlain:
      return "";
    case Style::kBold:
      return "\033[1m";
    case Style::kDim:
      return "\033[2m";
    case Style::kGreen:
      return "\033[32m";
    case Style::kYellow:
      return "\033[33m";
    case Style::kRed:
      return "\033[31m";
  }
  return "";
}

std::string paint(std::string_view text, Style style, bool color) {
  if (!color || style == Style::kPlain || text.empty()) {
    return std::string(text);
  }
  return fmt::format("{}{}\033[0m", sequence(style), text);
}

// Returns 0 or the errno of the failure.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// One row of Unicode 15, table 3-7 (well-formed UTF-8 byte sequences): which first bytes begin a
// sequence of which length, and what its second byte may be. Bytes after that are 80 to BF.
struct SequenceKind {
  unsigned char first_min = 0, first_max = 0;
  std::size_t length = 0;
  unsigned char second_min = 0x80, second_max = 0xBF;
};
constexpr std::array<SequenceKind, 9> kSequences = {{
    {0x00, 0x7F, 1},
    {0xC2, 0xDF, 2},
    {0xE0, 0xE0, 3, 0xA0, 0xBF},
    {0xE1, 0xEC, 3},
    {0xED, 0xED, 3, 0x80, 0x9F},  // No surrogates.
    {0xEE, 0xEF, 3},
    {0xF0, 0xF0, 4, 0x90, 0xBF},
    {0xF1, 0xF3, 4},
    {0xF4, 0xF4, 4, 0x80, 0x8F},
}};

bool begins(std::string_view text, const SequenceKind& kind) {
  const auto lies = [&](std::size_t i, unsigned char min, unsigned char max) {
    const auto byte = static_cast<unsigned char>(text[i]);
    return byte >= min && byte <= max;
  };
  if (text.size() < kind.length || !lies(0, kind.first_min, kind.first_max) ||
      (kind.length > 1 && !lies(1, kind.second_min, kind.second_max))) {
    return false;
  }
  for (std::size_t i = 2; i < kind.length; ++i) {
    if (!lies(i, 0x80, 0xBF)) {
      return false;
    }
  }
  return true;
}

// The length of the well-formed UTF-8 sequence at the start of `text`, which is not empty, or 0.
std::size_t sequence_length(std::string_view text) {
  for (const SequenceKind& kind : kSequences) {
    if (begins(text, kind)) {
      return kind.length;
    }
  }
  return 0;
}

}  // namespace

Output::Output(OutputMode mode)
    : mode_(mode),
      color_(mode == OutputMode::kText && wants_color(STDOUT_FILENO)),
      stderr_color_(wants_color(STDERR_FILENO)),
      stdout_is_terminal_(isatty(STDOUT_FILENO) == 1),
      stderr_is_terminal_(isatty(STDERR_FILENO) == 1),
      json_(std::make_unique<nlohmann::ordered_json>(nlohmann::ordered_json::object())) {}

Output::~Output() = default;

void Output::write_stdout(std::string_view bytes) {
  if (write_error_ == 0) {
    write_error_ = write_all(STDOUT_FILENO, bytes);
  }
}

void Output::text(std::string_view text) {
  if (mode_ == OutputMode::kText) {
    write_stdout(text);
  }
}

void Output::guest_output(std::string_view bytes) {
  if (stdout_is_terminal_) {
    text(printable(bytes));
  } else {
    text(bytes);
  }
}

void Output::guest_errors(std::string_view bytes) {
  if (mode_ == OutputMode::kText) {
    const std::string shown = stderr_is_terminal_ ? printable(bytes) : std::string();
    write_all(STDERR_FILENO, stderr_is_terminal_ ? shown : bytes);
  }
}

std::string Output::styled(std::string_view text, Style style) const {
  return paint(text, style, color_);
}

void Output::warn(std::string_view text) {
  write_all(STDERR_FILENO,
            fmt::format("stasis: {} {}\n", paint("warning:", Style::kYellow, stderr_color_), text));
}

void Output::fail(std::string_view code, std::string_view message, std::string_view hint) {
  if (mode_ == OutputMode::kJson) {
    nlohmann::ordered_json error = {{"code", std::string(code)}, {"message", std::string(message)}};
    if (!hint.empty()) {
      error["hint"] = std::string(hint);
    }
    (*json_)["error"] = std::move(error);
    return;
  }
  std::string text = fmt::format("stasis: {} {}\n", paint("error:", Style::kRed, stderr_color_),
                                 printable(message));
  if (!hint.empty()) {
    text += fmt::format("{} {}\n", paint("hint:", Style::kBold, stderr_color_), hint);
  }
  write_all(STDERR_FILENO, text);
}

ExitCode Output::finish(ExitCode code) {
  if (mode_ == OutputMode::kJson) {
    // Text from guests and files may be anything; JSON is UTF-8 (RFC 8259, section 8.1).
    write_stdout(json_->dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                 "\n");
  }
  if (write_error_ == EPIPE) {
    return ExitCode::kBrokenPipe;
  }
  if (write_error_ != 0) {
    write_all(STDERR_FILENO, fmt::format("stasis: error: cannot write to standard output: {}\n",
                                         std::strerror(write_error_)));  // NOLINT
    return ExitCode::kIo;
  }
  return code;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t length = sequence_length(text);
    const bool is_control =
        (first < 0x20 && first != '\n' && first != '\t') || first == 0x7F ||
        // C1 controls, U+0080 to U+009F.
        (length == 2 && first == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0);
    const std::size_t taken = length == 0 ? 1 : length;
    if (length == 0 || is_control) {
      for (std::size_t i = 0; i < taken; ++i) {
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
      }
    } else {
      result += text.substr(0, taken);
    }
    text.remove_prefix(taken);
  }
  return result;
}

}  // namespace stasis::cli
