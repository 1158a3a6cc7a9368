// The frame around all commands: parse, choose, run, report.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "core/names.h"
#include "session/build_info.h"

namespace stasis::cli {

namespace {

struct CommandEntry {
  std::string_view name;
  std::string_view summary;
  CommandFunction (*add)(CommandOptions&);
};

constexpr std::array<CommandEntry, 14> kCommands = {{
    {"doctor", "Say what this host can do, why not, and how to mend it", add_doctor},
    {"run", "Start a guest or a Linux program, send it requests, save it", add_run},
    {"restore", "Restore a snapshot, send it requests, save what changed", add_restore},
    {"invoke", "Restore a snapshot, ask it one thing, print the answer", add_invoke},
    {"bench-reset", "Reset a guest in place after each request, and measure it", add_bench_reset},
    {"inspect", "Show what a snapshot says about itself", add_inspect},
    {"verify", "Check every byte of a snapshot and of all its parents", add_verify},
    {"verify-diff", "Check that a differential snapshot holds all that changed", add_verify_diff},
    {"diff", "Compare two snapshots page by page and register by register", add_diff},
    {"merge", "Write a snapshot and its parents as one full snapshot", add_merge},
    {"policy", "List restore policies and show what each is composed of", add_policy},
    {"trace", "Record which pages a restored guest touches, in order", add_trace},
    {"experiment", "List, run and compare the measurements", add_experiment},
    {"report", "Render runs of experiments as one page", add_report},
}};

std::string exit_code_help() {
  std::string text = "Exit status:\n";
  for (const ExitCodeInfo& info : all_exit_codes()) {
    text += fmt::format("  {:>3}  {}\n", static_cast<int>(info.code), info.meaning);
  }
  return text +
         "\nEvery command takes --json and then prints one JSON object; see docs/cli.md.\n"
         "Environment: STASIS_GUESTS (where guests are), STASIS_KVM_DEVICE (instead of /dev/kvm),\n"
         "NO_COLOR.\n\n"
         "Examples:\n"
         "  $ stasis doctor\n"
         "  $ stasis run hello\n";
}

// The first word that is not an option: the command. Empty: there is none.
std::string command_word(const std::vector<std::string>& words) {
  const auto word = std::find_if(words.begin(), words.end(),
                                 [](const std::string& text) { return text.rfind('-', 0) != 0; });
  return word == words.end() ? "" : *word;
}

// The command word must be a command; CLI11's own message does not say so.
std::optional<std::string> unknown_command(const std::string& word) {
  if (word.empty()) {
    return std::nullopt;
  }
  std::vector<std::string_view> names;
  for (const CommandEntry& entry : kCommands) {
    if (word == entry.name) {
      return std::nullopt;
    }
    names.push_back(entry.name);
  }
  const std::string_view closest = closest_name(word, names);
  return closest.empty() ? fmt::format("'{}' is not a command", word)
                         : fmt::format("'{}' is not a command; did you mean '{}'?", word, closest);
}

struct Arguments {
  std::vector<std::string> words;            // Before "--", without the program's name.
  std::vector<std::string> guest_arguments;  // After it.
  bool json = false;
};

// "--json" is looked for by hand because a command line that cannot be parsed needs it too.
Arguments split_arguments(int argc, const char* const* argv) {
  Arguments arguments;
  int i = 1;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    arguments.words.emplace_back(argv[i]);
    arguments.json = arguments.json || arguments.words.back() == "--json";
  }
  for (++i; i < argc; ++i) {
    arguments.guest_arguments.emplace_back(argv[i]);
  }
  return arguments;
}

session::BackendOptions backend_options() {
  session::BackendOptions options;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read before any thread exists.
  if (const char* device = std::getenv("STASIS_KVM_DEVICE"); device != nullptr && *device != '\0') {
    options.kvm_device = device;
  }
  return options;
}

ExitCode run_command(const CommandFunction& command, Context& context) {
  Result<ExitCode> outcome = command(context);
  if (interrupted()) {
    context.output.fail("interrupted", "interrupted; everything temporary was removed", "");
    return ExitCode::kInterrupted;
  }
  if (outcome) {
    return *outcome;
  }
  const Error& error = outcome.error();
  context.output.fail(json_code(error.code), error.message, hint_for(error));
  return exit_code_for(error.code);
}

std::string version_text() {
  return fmt::format("stasis {} (commit {}, {}, {})\n", session::version(), session::commit(),
                     session::build_type(), session::compiler());
}

ExitCode print_version(Output& output) {
  output.text(version_text());
  output.json() = {{"version", session::version()},
                   {"commit", session::commit()},
                   {"build_type", session::build_type()},
                   {"compiler", session::compiler()}};
  return ExitCode::kOk;
}

// Sanitizers look for leaks at a regular end.
#ifdef STASIS_ENDS_AT_ONCE
constexpr bool kEndsAtOnce = true;
#else
constexpr bool kEndsAtOnce = false;
#endif

// Returns, unless the process can end here and now: everything is written, by write(2).
int end(ExitCode code, const Leftovers& leftovers) {
  if (kEndsAtOnce && leftovers.session != nullptr) {
    ::_exit(static_cast<int>(code));
  }
  return static_cast<int>(code);
}

}  // namespace

ProgressMode Context::progress_mode() const {
  if (quiet) {
    return ProgressMode::kOff;
  }
  return output.stderr_is_terminal() ? ProgressMode::kTerminal : ProgressMode::kLog;
}

int run_program(int argc, const char* const* argv) {
  const MonotonicNs begin_at = host_clock().now();
  Arguments arguments = split_arguments(argc, argv);
  Output output(arguments.json ? OutputMode::kJson : OutputMode::kText);
  Context context{.output = output,
                  .guest_arguments = std::move(arguments.guest_arguments),
                  .backends = backend_options(),
                  .begin_at = begin_at};
  const auto usage_error = [&](std::string_view message, std::string_view hint) {
    output.fail("usage", message, hint);
    return static_cast<int>(output.finish(ExitCode::kUsage));
  };
  const std::string word = command_word(arguments.words);
  if (const std::optional<std::string> message = unknown_command(word)) {
    return usage_error(*message, "`stasis --help` lists the commands");
  }

  CommandLine command_line(
      "Stasis: snapshots of virtual machines, taken, restored, proven and measured.", "stasis");
  CommandOptions options = command_line.options();
  options.footer(exit_code_help());
  bool json = false;
  bool version = false;
  options.add_flag("--version", version, "Print version, commit and build type");
  options.add_flag("--json", json, "Print one JSON object instead of text");
  CommandFunction chosen;
  std::string chosen_name;
  // Only the command that was asked for is built: the others' options would cost a restore some
  // hundred microseconds. Help of the program itself needs all names.
  for (const CommandEntry& entry : kCommands) {
    CommandOptions command =
        options.add_command(std::string(entry.name), std::string(entry.summary));
    if (entry.name == word) {
      command.add_flag("--json", json, "Print one JSON object instead of text");
      command.add_flag("-q,--quiet", context.quiet, "No progress on standard error");
      chosen = entry.add(command);
      chosen_name = entry.name;
    }
  }
  const Result<std::optional<std::string>> help = command_line.parse(arguments.words);
  if (!help) {
    return usage_error(help.error().message, fmt::format("`stasis {}--help` explains the options",
                                                         chosen ? chosen_name + " " : ""));
  }
  if (*help) {
    output.text(**help);
    output.json() = {{"help", **help}};
    return static_cast<int>(output.finish(ExitCode::kOk));
  }
  if (version) {
    return static_cast<int>(output.finish(print_version(output)));
  }
  if (!chosen || !command_line.command_given()) {
    return usage_error("no command", "`stasis --help` lists the commands");
  }
  const ExitCode code = run_command(chosen, context);
  return end(output.finish(code), context.leftovers);
}

}  // namespace stasis::cli
