#include "snapshot/restore/direct_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "core/address.h"
#include "core/unique_fd.h"

#ifndef O_DIRECT  // Linux; with _GNU_SOURCE elsewhere in the C library's headers.
#define O_DIRECT 0
#endif

namespace stasis::snapshot::internal {
namespace {

// What open(2) asks for place, length and memory of such reads is a device's block; no block of a
// disk is larger than a page.
constexpr std::uint64_t kAlignment = 4096;
constexpr std::uint64_t kReadBytesMax = std::uint64_t{4} << 20U;

struct Free {
  void operator()(void* memory) const { std::free(memory); }  // NOLINT: of std::aligned_alloc().
};

class DirectFile final : public ReadableFile {
 public:
  DirectFile(const ReadableFile& file, UniqueFd fd) : file_(file), fd_(std::move(fd)) {}

  [[nodiscard]] const std::string& path() const override { return file_.path(); }
  [[nodiscard]] std::uint64_t size_bytes() const override { return file_.size_bytes(); }
  [[nodiscard]] int fd() const override { return fd_.get(); }

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::uint64_t most =
        std::min(kReadBytesMax, align_up(offset % kAlignment + out.size(), kAlignment));
    const std::unique_ptr<void, Free> buffer(std::aligned_alloc(kAlignment, most));
    if (buffer == nullptr) {
      return Error{Errc::kIo, ENOMEM, "no memory to read '" + path() + "' directly"};
    }
    while (!out.empty()) {
      const std::uint64_t lead = offset % kAlignment;
      const std::uint64_t wanted = std::min<std::uint64_t>(out.size(), most - lead);
      const std::uint64_t asked = align_up(lead + wanted, kAlignment);
      const ssize_t got =
          ::pread(fd_.get(), buffer.get(), asked, static_cast<off_t>(offset - lead));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0 || static_cast<std::uint64_t>(got) <= lead) {
        return file_.read_at(offset, out);  // It says what is wrong, or it works.
      }
      const std::uint64_t bytes = std::min(wanted, static_cast<std::uint64_t>(got) - lead);
      std::memcpy(out.data(), static_cast<const std::byte*>(buffer.get()) + lead, bytes);
      out = out.subspan(bytes);
      offset += bytes;
    }
    return {};
  }

 private:
  const ReadableFile& file_;
  UniqueFd fd_;
};

}  // namespace

std::unique_ptr<ReadableFile> open_direct(const ReadableFile& file) {
  if (file.fd() < 0 || O_DIRECT == 0) {
    return nullptr;
  }
  // By descriptor: another file may have the name by now.
  const std::string path = "/proc/self/fd/" + std::to_string(file.fd());
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  if (!fd.is_open()) {
    return nullptr;
  }
  return std::make_unique<DirectFile>(file, std::move(fd));
}

}  // namespace stasis::snapshot::internal
