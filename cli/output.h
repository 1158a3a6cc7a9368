// Where a command's results go: text for people or one JSON object for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cli/exit_code.h"
#include "core/result.h"

namespace stasis::cli {

enum class OutputMode : std::uint8_t { kText, kJson };

enum class Style : std::uint8_t { kPlain, kBold, kDim, kGreen, kYellow, kRed };

// Not thread-safe, but for text() and what guests say: they may write from a vCPU's thread.
class Output {
 public:
  // Colours only on a terminal, and not if NO_COLOR is set and not empty (no-color.org).
  explicit Output(OutputMode mode);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  Output(Output&&) = delete;
  Output& operator=(Output&&) = delete;

  [[nodiscard]] bool is_json() const { return mode_ == OutputMode::kJson; }
  [[nodiscard]] bool stdout_is_terminal() const { return stdout_is_terminal_; }
  [[nodiscard]] bool stderr_is_terminal() const { return stderr_is_terminal_; }

  // To standard output, in text mode only; a newline is not added.
  void text(std::string_view text);
  // What a guest says, in text mode only: bytes as they are, but on a terminal as printable().
  void guest_output(std::string_view bytes);  // To standard output. Thread-safe as text() is.
  void guest_errors(std::string_view bytes);  // To standard error.
  // `text` in a style, where standard output is a terminal that takes it.
  [[nodiscard]] std::string styled(std::string_view text, Style style) const;
  // To standard error, in both modes: "stasis: warning: ...".
  void warn(std::string_view text);

  // The object that JSON mode prints at the end; commands fill it in both modes.
  [[nodiscard]] nlohmann::ordered_json& json() { return *json_; }

  // "stasis: error: ..." and, unless empty, "hint: ..." to standard error; in JSON mode instead
  // {"error": {"code", "message", "hint"}} on standard output beside what json() already holds.
  void fail(std::string_view code, std::string_view message, std::string_view hint);

  // Prints what is left. The exit code is `code`, unless standard output could not be written.
  ExitCode finish(ExitCode code);

 private:
  void write_stdout(std::string_view bytes);

  OutputMode mode_;
  bool color_ = false;
  bool stderr_color_ = false;
  bool stdout_is_terminal_ = false;
  bool stderr_is_terminal_ = false;
  int write_error_ = 0;  // errno of the first failed write to standard output.
  std::unique_ptr<nlohmann::ordered_json> json_;
};

// `text` with every byte that could steer a terminal, or is not UTF-8, made visible as \xNN; '\n'
// and '\t' stay. For what a guest or a file says.
std::string printable(std::string_view text);
[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace stasis::cli
