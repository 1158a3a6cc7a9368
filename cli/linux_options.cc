#include "cli/linux_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace stasis::cli {

void add_linux_options(CommandOptions& app, session::LinuxOptions& target) {
  app.add_option(
         "--allow-read", target.allow_read,
         "A host file, or a folder and all below it, that PROGRAM may read; may be repeated")
      .type_name("PATH")
      .one_value();
  app.add_option("--env", target.environment, "Of PROGRAM, which inherits nothing; may be repeated")
      .type_name("NAME=VALUE")
      .one_value();
  app.add_option("--cwd", target.working_directory, "PROGRAM's working directory [/]")
      .type_name("PATH");
  app.add_option("--layout-seed", target.layout_seed,
                 "Where PROGRAM, heap and stack lie in its address space [0]")
      .type_name("N");
}

void add_kernel_options(CommandOptions& app, session::KernelOptions& target) {
  app.add_option("--kernel", target.kernel,
                 "Of the guest linux: an arm64 kernel's Image [what scripts/fetch-linux-arm64 "
                 "has fetched]")
      .type_name("FILE");
  app.add_option("--initrd", target.initrd, "Its initramfs [likewise]").type_name("FILE");
  app.add_option("--cmdline", target.command_line, "Appended to its command line")
      .type_name("TEXT");
}

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return name;
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read before any thread exists.
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    std::string candidate = std::string(rest.substr(0, end)) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return Error{Errc::kNotFound, 0,
               fmt::format("no program '{}' in PATH; give a path, as in ./{}", name, name)};
}

}  // namespace stasis::cli
