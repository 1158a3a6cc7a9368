#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "core/text.h"
#include "guests/linux/kernel/system_files.h"

namespace stasis::linux_guest {
namespace {

std::string kilobytes(std::string_view name, std::uint64_t bytes) {
  std::string line = std::string(name) + ":";
  const std::string number = std::to_string(bytes / 1024);
  line.resize(std::max<std::size_t>(line.size() + 1, 24 - std::min<std::size_t>(number.size(), 20)),
              ' ');
  return line + number + " kB\n";
}

std::string meminfo(const Process& process) {
  const std::uint64_t total = process.memory->memory_bytes();
  const std::uint64_t used = std::min(total, process.memory->resident_bytes());
  return kilobytes("MemTotal", total) + kilobytes("MemFree", total - used) +
         kilobytes("MemAvailable", total - used) + kilobytes("Buffers", 0) +
         kilobytes("Cached", 0) + kilobytes("SwapTotal", 0) + kilobytes("SwapFree", 0);
}

std::string seconds(std::int64_t ns) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%lld.%02lld", static_cast<long long>(ns / kNsPerSecond),
                static_cast<long long>(ns % kNsPerSecond / 10'000'000));
  return text.data();
}

std::string machine_stat(const Process& process) {
  const std::string ticks = std::to_string(process.clock.monotonic_ns() / 10'000'000);
  return "cpu  " + ticks + " 0 0 0 0 0 0 0 0 0\ncpu0 " + ticks + " 0 0 0 0 0 0 0 0 0\nbtime " +
         std::to_string((process.clock.real_ns() - process.clock.monotonic_ns()) / kNsPerSecond) +
         "\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
}

std::string random_uuid(const Process& process) {
  std::array<std::byte, 16> bytes{};
  process.random(bytes);
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 4122: version 4, variant 1.
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto value = std::to_integer<std::size_t>(bytes[i]);
    text += i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    text += kDigits[value >> 4U];
    text += kDigits[value & 15U];
  }
  return text + "\n";
}

struct FixedText {
  const char* path;
  const char* text;
};

// The values are those of a plain Linux 6.1 where a program looks at them.
constexpr std::array<FixedText, 24> kFixed = {
    {{"/proc/version", "Linux version 6.1.0-stasis (stasis) #1 Stasis\n"},
     {"/proc/loadavg", "0.00 0.00 0.00 1/1 100\n"},
     {"/proc/filesystems", "nodev\ttmpfs\nnodev\tproc\n"},
     {"/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
     {"/proc/cmdline", "\n"},
     {"/proc/cpuinfo",
      "processor\t: 0\nvendor_id\t: unknown\nmodel name\t: Stasis virtual processor\n"
      "cpu MHz\t\t: 1000.000\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\n\n"},
     {"/proc/sys/kernel/osrelease", "6.1.0-stasis\n"},
     {"/proc/sys/kernel/ostype", "Linux\n"},
     {"/proc/sys/kernel/hostname", "stasis\n"},
     {"/proc/sys/kernel/pid_max", "32768\n"},
     {"/proc/sys/kernel/threads-max", "512\n"},
     {"/proc/sys/kernel/ngroups_max", "65536\n"},
     {"/proc/sys/kernel/cap_last_cap", "40\n"},
     {"/proc/sys/kernel/randomize_va_space", "0\n"},
     {"/proc/sys/kernel/random/entropy_avail", "256\n"},
     {"/proc/sys/vm/overcommit_memory", "1\n"},
     {"/proc/sys/vm/max_map_count", "65530\n"},
     {"/proc/sys/fs/pipe-max-size", "65536\n"},
     {"/sys/devices/system/cpu/online", "0\n"},
     {"/sys/devices/system/cpu/possible", "0\n"},
     {"/sys/devices/system/cpu/present", "0\n"},
     {"/sys/devices/system/node/online", "0\n"},
     {"/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"},
     {"/proc/devices", "Character devices:\n  1 mem\n\nBlock devices:\n"}}};

SyntheticEntry text_entry(std::function<std::string()> text) {
  SyntheticEntry entry;
  entry.mode = S_IFREG | 0444U;
  entry.text = std::move(text);
  return entry;
}

}  // namespace

void add_proc_files(Process& process) {
  Vfs& vfs = *process.vfs;
  for (const FixedText& fixed : kFixed) {
    vfs.add(fixed.path, text_entry([text = fixed.text] { return std::string(text); }));
  }
  vfs.add("/proc/meminfo", text_entry([&process] { return meminfo(process); }));
  vfs.add("/proc/stat", text_entry([&process] { return machine_stat(process); }));
  vfs.add("/proc/uptime",
          text_entry([&process] { return seconds(process.clock.monotonic_ns()) + " 0.00\n"; }));
  vfs.add("/proc/sys/kernel/random/uuid", text_entry([&process] { return random_uuid(process); }));
  // Of the boot, so the same at every look; drawn anew when a kernel is made, also for a load.
  vfs.add("/proc/sys/kernel/random/boot_id",
          text_entry([id = random_uuid(process)] { return id; }));
}

void add_etc_files(Process& process) {
  constexpr std::array<FixedText, 6> kEtc = {
      {{"/etc/passwd", "root:x:0:0:root:/:/bin/sh\n"},
       {"/etc/group", "root:x:0:\n"},
       {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
       {"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
       {"/etc/resolv.conf", ""},
       {"/etc/hostname", "stasis\n"}}};
  for (const FixedText& fixed : kEtc) {
    SyntheticEntry entry = text_entry([text = fixed.text] { return std::string(text); });
    entry.yields_to_host = true;
    process.vfs->add(fixed.path, std::move(entry));
  }
}

}  // namespace stasis::linux_guest
