#include "experiments/harness/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "core/unique_fd.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kTextBytesMax = std::size_t{256} << 20U;

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) {
    if (errno == ENOENT) {
      return Error{.code = Errc::kNotFound, .os_error = ENOENT, .message = path + ": no such file"};
    }
    return errno_error(errno, "open " + path);
  }
  std::string text;
  std::array<char, 16384> buffer = {};
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return errno_error(errno, "read " + path);
    }
    if (got == 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kTextBytesMax) {
      return Error{.code = Errc::kOutOfRange, .message = path + ": larger than 256 MiB"};
    }
  }
}

Result<void> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put < 0) {
      return errno_error(errno, "write " + path);
    }
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> write_text_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".new";
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.is_open()) {
    return errno_error(errno, "create " + temporary);
  }
  STASIS_TRY(write_all(fd.get(), text, temporary));
  STASIS_TRY(fd.close());
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return errno_error(errno, "rename " + temporary + " to " + path);
  }
  return {};
}

std::string read_attribute(const std::string& path) {
  auto text = read_text_file(path);
  if (!text) {
    return {};
  }
  return text->substr(0, text->find('\n'));
}

}  // namespace stasis::experiments
