// The options of the program and of its commands, declared without their parser: the seam to
// CLI11, which command_options.cc alone includes (with it, a file takes twenty seconds to compile).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours.
class App;
class Option;
}  // namespace CLI

namespace stasis::cli {

// One option, to say more about it. Lives as long as the CommandLine that it is of.
class DeclaredOption {
 public:
  explicit DeclaredOption(CLI::Option& option) : option_(&option) {}

  // The command line is refused without it.
  DeclaredOption& required();
  // What help shows for the value; nothing for "".
  DeclaredOption& type_name(const std::string& name);
  // Each time that it stands on the command line it takes one value, not all that follow.
  DeclaredOption& one_value();
  // Not in the help text.
  DeclaredOption& hidden();

 private:
  CLI::Option* option_;
};

// The options of one command: a handle, valid as long as the CommandLine that it is of. Names are
// "--name", "-n,--name", or "NAME" for an argument that is told by its place. Targets must live
// until parse(), and keep their values when the option is not given.
class CommandOptions {
 public:
  explicit CommandOptions(CLI::App& app) : app_(&app) {}

  DeclaredOption add_option(const std::string& name, std::string& target,
                            const std::string& description);
  // May be repeated.
  DeclaredOption add_option(const std::string& name, std::vector<std::string>& target,
                            const std::string& description);
  DeclaredOption add_option(const std::string& name, std::uint64_t& target,
                            const std::string& description);
  DeclaredOption add_option(const std::string& name, std::int64_t& target,
                            const std::string& description);
  // `take` is given the text; its error's message follows the name of the option.
  DeclaredOption add_option(const std::string& name,
                            std::function<Result<void>(const std::string&)> take,
                            const std::string& description);
  void add_flag(const std::string& name, bool& target, const std::string& description);

  // A command below this one.
  CommandOptions add_command(const std::string& name, const std::string& summary);
  // Exactly one of the commands below must follow; options of this one may stand behind it.
  void require_command();
  // After parse(): whether this command was on the command line.
  [[nodiscard]] bool given() const;

  // What help says after the options.
  void footer(const std::string& text);

 private:
  CLI::App* app_;
};

// The whole command line.
class CommandLine {
 public:
  CommandLine(const std::string& summary, const std::string& name);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // The options before any command.
  [[nodiscard]] CommandOptions options();
  // The words without the program's name. Text: help was asked for, and this is it.
  // kInvalidArgument, with the words of the parser, for what was not declared so.
  Result<std::optional<std::string>> parse(const std::vector<std::string>& words);
  // After parse().
  [[nodiscard]] bool command_given() const;

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace stasis::cli
