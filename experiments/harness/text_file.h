// Small files as text: /proc, /sys, run records.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace stasis::experiments {

// The whole file, at most 256 MiB. kNotFound or kIo, naming it.
Result<std::string> read_text_file(const std::string& path);
// Replaces the file atomically: a reader sees the old text or the new one.
Result<void> write_text_file(const std::string& path, std::string_view text);
// The first line without its newline; empty if the file cannot be read. For /sys attributes that
// may be absent.
std::string read_attribute(const std::string& path);

// All bytes, whatever write(2) takes at a time. `path` is for the message.
Result<void> write_all(int fd, std::string_view bytes, const std::string& path);

}  // namespace stasis::experiments
