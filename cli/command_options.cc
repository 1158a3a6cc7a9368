#include "cli/command_options.h"

#include <CLI/CLI.hpp>

#include <utility>

namespace stasis::cli {

DeclaredOption& DeclaredOption::required() {
  option_->required();
  return *this;
}

DeclaredOption& DeclaredOption::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

DeclaredOption& DeclaredOption::one_value() {
  option_->allow_extra_args(false);
  return *this;
}

DeclaredOption& DeclaredOption::hidden() {
  option_->group("");
  return *this;
}

DeclaredOption CommandOptions::add_option(const std::string& name, std::string& target,
                                          const std::string& description) {
  return DeclaredOption(*app_->add_option(name, target, description));
}

DeclaredOption CommandOptions::add_option(const std::string& name, std::vector<std::string>& target,
                                          const std::string& description) {
  return DeclaredOption(*app_->add_option(name, target, description));
}

DeclaredOption CommandOptions::add_option(const std::string& name, std::uint64_t& target,
                                          const std::string& description) {
  return DeclaredOption(*app_->add_option(name, target, description));
}

DeclaredOption CommandOptions::add_option(const std::string& name, std::int64_t& target,
                                          const std::string& description) {
  return DeclaredOption(*app_->add_option(name, target, description));
}

DeclaredOption CommandOptions::add_option(const std::string& name,
                                          std::function<Result<void>(const std::string&)> take,
                                          const std::string& description) {
  // CLI11 hears of a value that it should refuse by an exception of its own.
  return DeclaredOption(*app_->add_option_function<std::string>(
      name,
      [name, take = std::move(take)](const std::string& text) {
        if (const Result<void> taken = take(text); !taken) {
          throw CLI::ValidationError(name, taken.error().message);
        }
      },
      description));
}

void CommandOptions::add_flag(const std::string& name, bool& target,
                              const std::string& description) {
  app_->add_flag(name, target, description);
}

CommandOptions CommandOptions::add_command(const std::string& name, const std::string& summary) {
  return CommandOptions(*app_->add_subcommand(name, summary));
}

void CommandOptions::require_command() {
  app_->require_subcommand(1);
  app_->fallthrough();
}

bool CommandOptions::given() const {
  return app_->parsed();
}

void CommandOptions::footer(const std::string& text) {
  app_->footer(text);
}

CommandLine::CommandLine(const std::string& summary, const std::string& name)
    : app_(std::make_unique<CLI::App>(summary, name)) {
  app_->get_formatter()->column_width(30);
  app_->require_subcommand(0, 1);
}

CommandLine::~CommandLine() = default;

CommandOptions CommandLine::options() {
  return CommandOptions(*app_);
}

Result<std::optional<std::string>> CommandLine::parse(const std::vector<std::string>& words) {
  try {
    // CLI11 takes the words in reverse.
    app_->parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::CallForHelp&) {
    return std::optional(app_->help("", CLI::AppFormatMode::Normal));
  } catch (const CLI::ParseError& error) {
    return Error{Errc::kInvalidArgument, 0, error.what()};
  }
  return std::optional<std::string>();
}

bool CommandLine::command_given() const {
  return !app_->get_subcommands().empty();
}

}  // namespace stasis::cli
