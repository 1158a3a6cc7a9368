#include "experiments/harness/host_facts.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>

#include "experiments/harness/text_file.h"
#include "session/build_info.h"

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;

// The value of "key : value" or "key: value" in /proc/cpuinfo, /proc/meminfo; empty if absent.
std::string field_of(std::string_view text, std::string_view key) {
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with(key)) {
      continue;
    }
    const std::size_t colon = line.find(':');
    const std::size_t value =
        colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? std::string() : line.substr(value);
  }
  return {};
}

std::string proc_field(const std::string& path, std::string_view key) {
  const auto text = read_text_file(path);
  return text ? field_of(*text, key) : std::string();
}

std::string kib_field_in_gib(std::string_view key) {
  const std::string value = proc_field("/proc/meminfo", key);
  if (value.empty()) {
    return {};
  }
  return fmt::format("{:.1f} GiB", std::strtod(value.c_str(), nullptr) / (1024.0 * 1024.0));
}

// "always [madvise] never" -> "madvise".
std::string selected(const std::string& choices) {
  const std::size_t open = choices.find('[');
  const std::size_t close = choices.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return choices;
  }
  return choices.substr(open + 1, close - open - 1);
}

std::string filesystem_name(std::int64_t magic) {
  switch (magic) {  // man 2 statfs
    case 0xef53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683e:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794c7630:
      return "overlayfs";
    default:
      return fmt::format("{:#x}", magic);
  }
}

// /sys/dev/block/MAJOR:MINOR/queue, or of the whole disk if that is a partition; empty for file
// systems without a block device.
std::string queue_directory(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return {};
  }
  const std::string device =
      fmt::format("/sys/dev/block/{}:{}", ::major(status.st_dev), ::minor(status.st_dev));
  std::error_code ignored;
  if (fs::exists(device + "/queue", ignored)) {
    return device + "/queue";
  }
  const fs::path real = fs::canonical(device, ignored);
  if (!ignored && fs::exists(real.parent_path() / "queue", ignored)) {
    return (real.parent_path() / "queue").string();
  }
  return {};
}

void add(HostFacts& facts, std::string name, std::string value) {
  if (!value.empty()) {
    facts.emplace_back(std::move(name), std::move(value));
  }
}

void add_storage(HostFacts& facts, const std::string& path) {
  struct statfs status {};
  if (::statfs(path.c_str(), &status) == 0) {
    add(facts, "file_system", filesystem_name(std::int64_t{status.f_type}));
  }
  if (const std::string queue = queue_directory(path); !queue.empty()) {
    add(facts, "read_ahead_kb", read_attribute(queue + "/read_ahead_kb"));
    add(facts, "io_scheduler", selected(read_attribute(queue + "/scheduler")));
  }
}

}  // namespace

std::string kvm_kind() {
  std::error_code ignored;
  if (!fs::exists("/dev/kvm", ignored)) {
    return "none";
  }
  if (fs::exists("/sys/module/kvm_pvm", ignored)) {
    return "pvm";
  }
  const std::string flags = " " + proc_field("/proc/cpuinfo", "flags") + " ";
  if (fs::exists("/sys/module/kvm_intel", ignored) || flags.find(" vmx ") != std::string::npos) {
    return "vmx";
  }
  if (fs::exists("/sys/module/kvm_amd", ignored) || flags.find(" svm ") != std::string::npos) {
    return "svm";
  }
  return "unknown";
}

std::string build_not_quotable_because() {
  const std::string_view build_type = session::build_type();
  if (build_type == "RelWithDebInfo" || build_type == "Release") {
    return {};
  }
  return fmt::format("this is a {} build: use the preset release", build_type);
}

HostFacts collect_host_facts(const std::string& measured_path) {
  HostFacts facts;
  utsname system{};
  if (::uname(&system) == 0) {
    add(facts, "kernel",
        fmt::format("{} {} {}", &system.sysname[0], &system.release[0], &system.machine[0]));
  }
  add(facts, "cpu", proc_field("/proc/cpuinfo", "model name"));
  add(facts, "cpus", std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)));
  const std::string flags = " " + proc_field("/proc/cpuinfo", "flags") + " ";
  add(facts, "virtual_machine", flags.find(" hypervisor ") != std::string::npos ? "yes" : "no");
  add(facts, "memory", kib_field_in_gib("MemTotal"));
  add(facts, "swap", kib_field_in_gib("SwapTotal"));
  add(facts, "page_size", std::to_string(::sysconf(_SC_PAGESIZE)));
  add(facts, "kvm", kvm_kind());
  add(facts, "kvm_tdp_mmu", read_attribute("/sys/module/kvm/parameters/tdp_mmu"));
  add(facts, "kvm_nx_huge_pages", read_attribute("/sys/module/kvm/parameters/nx_huge_pages"));
  const std::string thp = "/sys/kernel/mm/transparent_hugepage/";
  add(facts, "thp_enabled", selected(read_attribute(thp + "enabled")));
  add(facts, "thp_defrag", selected(read_attribute(thp + "defrag")));
  add(facts, "clock_source",
      read_attribute("/sys/devices/system/clocksource/clocksource0/current_clocksource"));
  std::error_code ignored;
  add(facts, "cgroup", fs::exists("/sys/fs/cgroup/cgroup.controllers", ignored) ? "v2" : "v1");
  add_storage(facts, measured_path);
  add(facts, "stasis", std::string(session::version()));
  add(facts, "commit", std::string(session::commit()));
  add(facts, "build_type", std::string(session::build_type()));
  add(facts, "compiler", std::string(session::compiler()));
  return facts;
}

}  // namespace stasis::experiments
