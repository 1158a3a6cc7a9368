#include "experiments/harness/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "core/unique_fd.h"
#include "experiments/harness/text_file.h"

namespace stasis::experiments {
namespace {

// The number after `key` in text like "VmRSS:\t  123 kB"; 0 if absent.
std::uint64_t number_after(const std::string& text, std::string_view key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

}  // namespace

ProcessMemory process_memory() {
  const auto text = read_text_file("/proc/self/status");
  if (!text) {
    return {};
  }
  return {.resident_bytes = number_after(*text, "VmRSS:") * 1024,
          .peak_resident_bytes = number_after(*text, "VmHWM:") * 1024};
}

bool reset_peak_memory() {
  // man 5 proc: writing 5 to clear_refs resets the peak to the current value.
  const UniqueFd fd(::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC));
  return fd.is_open() && ::write(fd.get(), "5", 1) == 1;
}

std::uint64_t storage_read_bytes() {
  const auto text = read_text_file("/proc/self/io");
  return text ? number_after(*text, "\nread_bytes:") : 0;
}

}  // namespace stasis::experiments
