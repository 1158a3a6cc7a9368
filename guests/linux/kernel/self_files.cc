#include <sys/stat.h>

#include <array>
#include <charconv>
#include <cstdio>

#include "guests/linux/kernel/system_files.h"

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kMapsBytesMax = std::size_t{4} << 20U;
const char* const kSelf = "/proc/100";  // kProcessId

std::string maps(const Process& process) {
  std::string text;
  for (const Mapping& mapping : process.memory->mappings()) {
    std::array<char, 128> line{};
    const auto letter = [&](Protection one, char shown) {
      return has(mapping.protection, one) ? shown : '-';
    };
    const bool is_file = mapping.name.starts_with('/');
    const unsigned long long begin = mapping.begin.value;  // As printf wants it.
    const unsigned long long end = begin + mapping.size_bytes;
    const unsigned long long offset = mapping.file_offset;
    std::snprintf(line.data(), line.size(), "%08llx-%08llx %c%c%c%c %08llx %s %-10d ", begin, end,
                  letter(Protection::kRead, 'r'), letter(Protection::kWrite, 'w'),
                  letter(Protection::kExecute, 'x'),
                  mapping.sharing == MapRequest::Sharing::kShared ? 's' : 'p', offset,
                  is_file ? "00:01" : "00:00", is_file ? 1 : 0);
    std::string shown = line.data();
    if (mapping.name.empty()) {
      shown.erase(shown.find_last_not_of(' ') + 1);
    } else {
      shown.resize(std::max<std::size_t>(shown.size(), 73), ' ');
      shown += mapping.name;
    }
    text += shown + "\n";
    if (text.size() > kMapsBytesMax) {
      break;
    }
  }
  return text;
}

std::uint64_t mapped_bytes(const Process& process) {
  std::uint64_t sum = 0;
  for (const Mapping& mapping : process.memory->mappings()) {
    sum += mapping.size_bytes;
  }
  return sum;
}

std::string name_of_thread(const Process& process, int id) {
  const auto found = process.threads.all().find(id);
  return found == process.threads.all().end() ? "?" : found->second.name;
}

std::string hex_set(std::uint64_t bits) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(bits));
  return text.data();
}

std::string status(const Process& process, int id) {
  std::uint64_t ignored = 0;
  std::uint64_t caught = 0;
  for (int signal = 1; signal <= kSignalsMax; ++signal) {
    const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(signal - 1);
    const std::uint64_t handler = process.signals.action(signal).handler;
    ignored |= handler == kHandlerIgnore ? bit : 0;
    caught |= handler > kHandlerIgnore ? bit : 0;
  }
  const auto thread = process.threads.all().find(id);
  const std::uint64_t blocked =
      thread == process.threads.all().end() ? 0 : thread->second.blocked.bits;
  const std::string resident = std::to_string(process.memory->resident_bytes() / 1024) + " kB\n";
  const std::string size = std::to_string(mapped_bytes(process) / 1024) + " kB\n";
  return "Name:\t" + name_of_thread(process, id) + "\nUmask:\t0022\nState:\tR (running)\nTgid:\t" +
         std::to_string(kProcessId) + "\nPid:\t" + std::to_string(id) +
         "\nPPid:\t1\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t64\nGroups:\t0\n"
         "VmPeak:\t" +
         size + "VmSize:\t" + size + "VmHWM:\t" + resident + "VmRSS:\t" + resident +
         "VmSwap:\t0 kB\nThreads:\t" + std::to_string(process.threads.all().size()) +
         "\nSigBlk:\t" + hex_set(blocked) + "\nSigIgn:\t" + hex_set(ignored) + "\nSigCgt:\t" +
         hex_set(caught) + "\nCapEff:\t" + hex_set(0) +
         "\nNoNewPrivs:\t1\nSeccomp:\t0\nCpus_allowed:\t1\nCpus_allowed_list:\t0\n"
         "Mems_allowed_list:\t0\n";
}

// proc(5): 52 fields, of which the ones that a single process without a terminal has are filled in.
std::string process_stat(const Process& process, int id) {
  const std::string ticks = std::to_string(process.clock.monotonic_ns() / 10'000'000);
  return std::to_string(id) + " (" + name_of_thread(process, id) + ") R 1 100 100 0 -1 4194304 " +
         "0 0 0 0 " + ticks + " 0 0 0 20 0 " + std::to_string(process.threads.all().size()) +
         " 0 0 " + std::to_string(mapped_bytes(process)) + " " +
         std::to_string(process.memory->resident_bytes() / kPageBytes) +
         " 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
}

std::string statm(const Process& process) {
  const std::string resident = std::to_string(process.memory->resident_bytes() / kPageBytes);
  return std::to_string(mapped_bytes(process) / kPageBytes) + " " + resident + " 0 0 0 " +
         resident + " 0\n";
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text += part;
    text += '\0';
  }
  return text;
}

std::string limits(const Process& process) {
  constexpr std::array<const char*, kResourceLimits> kNames = {
      "Max cpu time",       "Max file size",     "Max data size",         "Max stack size",
      "Max core file size", "Max resident set",  "Max processes",         "Max open files",
      "Max locked memory",  "Max address space", "Max file locks",        "Max pending signals",
      "Max msgqueue size",  "Max nice priority", "Max realtime priority", "Max realtime timeout"};
  std::string text =
      "Limit                     Soft Limit           Hard Limit           Units     \n";
  const auto shown = [](std::uint64_t value) {
    return value == UINT64_MAX ? std::string("unlimited") : std::to_string(value);
  };
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    std::array<char, 128> line{};
    std::snprintf(line.data(), line.size(), "%-25s %-20s %-20s %-10s\n", kNames[i],
                  shown(process.limits[i].soft).c_str(), shown(process.limits[i].hard).c_str(), "");
    text += line.data();
  }
  return text;
}

constexpr const char* kMounts =
    "stasis / stasis ro 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n"
    "tmpfs /run tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
constexpr const char* kMountInfo =
    "1 0 0:1 / / ro - stasis stasis ro\n2 1 0:32 / /tmp rw - tmpfs tmpfs rw\n"
    "3 1 0:32 / /dev/shm rw - tmpfs tmpfs rw\n4 1 0:32 / /run rw - tmpfs tmpfs rw\n"
    "5 1 0:2 / /proc rw - proc proc rw\n";

SyntheticEntry text_entry(std::function<std::string()> text) {
  SyntheticEntry entry;
  entry.mode = S_IFREG | 0444U;
  entry.text = std::move(text);
  return entry;
}

SyntheticEntry link_entry(std::function<std::string()> target) {
  SyntheticEntry entry;
  entry.mode = S_IFLNK | 0777U;
  entry.text = std::move(target);
  return entry;
}

SyntheticEntry folder_entry() {
  SyntheticEntry entry;
  entry.mode = S_IFDIR | 0555U;
  return entry;
}

std::optional<int> number_below(const std::string& path, const std::string& folder) {
  if (path.size() <= folder.size() + 1 || !path.starts_with(folder + "/")) {
    return std::nullopt;
  }
  int number = -1;
  const char* const end = path.data() + path.size();
  const auto [stop, wrong] = std::from_chars(path.data() + folder.size() + 1, end, number);
  return wrong == std::errc() && stop == end && number >= 0 ? std::optional(number) : std::nullopt;
}

std::optional<SyntheticEntry> descriptor_entry(Process& process, int number) {
  std::shared_ptr<File> file = process.descriptors.get(number);
  if (file == nullptr) {
    return std::nullopt;
  }
  // By path where there is one, through the same walk and checks as any other; else the file
  // itself.
  SyntheticEntry entry = link_entry([file] { return file->path(); });
  if (!file->path().starts_with('/') || file->path().ends_with(" (deleted)")) {
    entry.open = [file](int /*flags*/) { return file; };
  }
  return entry;
}

std::optional<SyntheticEntry> thread_entry(Process& process, const std::string& path,
                                           const std::string& tasks) {
  if (path == tasks) {
    return folder_entry();
  }
  const std::size_t slash = path.find('/', tasks.size() + 1);
  const auto id = number_below(path.substr(0, slash), tasks);
  if (!id || process.threads.find(*id) == nullptr) {
    return std::nullopt;
  }
  const std::string name = slash == std::string::npos ? "" : path.substr(slash + 1);
  if (name.empty()) {
    return folder_entry();
  }
  if (name == "comm") {
    return text_entry([&process, id] { return name_of_thread(process, *id) + "\n"; });
  }
  if (name == "status") {
    return text_entry([&process, id] { return status(process, *id); });
  }
  if (name == "stat") {
    return text_entry([&process, id] { return process_stat(process, *id); });
  }
  return std::nullopt;
}

std::optional<SyntheticEntry> dynamic_entry(Process& process, const std::string& path) {
  const std::string descriptors = std::string(kSelf) + "/fd";
  const std::string tasks = std::string(kSelf) + "/task";
  if (path == descriptors) {
    return folder_entry();
  }
  if (const auto number = number_below(path, descriptors)) {
    return descriptor_entry(process, *number);
  }
  return path.starts_with(tasks) ? thread_entry(process, path, tasks) : std::nullopt;
}

std::vector<std::string> dynamic_names(const Process& process, const std::string& path) {
  std::vector<std::string> names;
  if (path == std::string(kSelf) + "/fd") {
    for (const auto& [number, descriptor] : process.descriptors.all()) {
      names.push_back(std::to_string(number));
    }
  } else if (path == std::string(kSelf) + "/task") {
    for (const auto& [id, thread] : process.threads.all()) {
      names.push_back(std::to_string(id));
    }
  } else if (path.starts_with(std::string(kSelf) + "/task/") &&
             path.find('/', std::string(kSelf).size() + 6) == std::string::npos) {
    names = {"comm", "stat", "status"};
  } else if (path == kSelf) {
    names = {"fd", "task"};
  }
  return names;
}

}  // namespace

void add_self_files(Process& process) {
  Vfs& vfs = *process.vfs;
  const std::string self = kSelf;
  vfs.add("/proc/self", link_entry([] { return std::to_string(kProcessId); }));
  vfs.add("/proc/thread-self", link_entry([&process] {
            return "100/task/" + std::to_string(process.threads.loaded_id());
          }));
  vfs.add("/proc/mounts", link_entry([] { return std::string("self/mounts"); }));
  vfs.add(self + "/exe", link_entry([&process] { return process.config.executable; }));
  vfs.add(self + "/cwd", link_entry([&process] { return process.working_directory->path(); }));
  vfs.add(self + "/root", link_entry([] { return std::string("/"); }));
  vfs.add(self + "/maps", text_entry([&process] { return maps(process); }));
  vfs.add(self + "/cmdline", text_entry([&process] { return joined(process.config.arguments); }));
  vfs.add(self + "/environ", text_entry([&process] { return joined(process.config.environment); }));
  vfs.add(self + "/status", text_entry([&process] { return status(process, kProcessId); }));
  vfs.add(self + "/stat", text_entry([&process] { return process_stat(process, kProcessId); }));
  vfs.add(self + "/statm", text_entry([&process] { return statm(process); }));
  vfs.add(self + "/comm",
          text_entry([&process] { return name_of_thread(process, kProcessId) + "\n"; }));
  vfs.add(self + "/limits", text_entry([&process] { return limits(process); }));
  vfs.add(self + "/mounts", text_entry([] { return std::string(kMounts); }));
  vfs.add(self + "/mountinfo", text_entry([] { return std::string(kMountInfo); }));
  vfs.add(self + "/cgroup", text_entry([] { return std::string("0::/\n"); }));
  vfs.add(self + "/oom_score_adj", text_entry([] { return std::string("0\n"); }));
  vfs.set_dynamic([&process](const std::string& path) { return dynamic_entry(process, path); },
                  [&process](const std::string& path) { return dynamic_names(process, path); });
}

}  // namespace stasis::linux_guest
