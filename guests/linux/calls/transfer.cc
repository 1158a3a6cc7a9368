#include "guests/linux/calls/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <vector>

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kPieceBytes = 65536;

std::uint64_t sum_of(std::span<const UserSpan> spans) {
  std::uint64_t sum = 0;  // Bounded by kTransferBytesMax.
  for (const UserSpan& span : spans) {
    sum += span.size_bytes;
  }
  return sum;
}

// `result` if nothing has been moved yet, else how much was.
SysResult moved_or(std::uint64_t moved, SysResult result) {
  return moved != 0 ? static_cast<SysResult>(moved) : result;
}

SysResult read_all(Call& call, File& file, std::span<const UserSpan> spans, std::uint64_t offset) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, sum_of(spans)));
  std::uint64_t moved = 0;
  for (const UserSpan& span : spans) {
    for (std::uint64_t done = 0; done < span.size_bytes;) {
      const auto wanted =
          std::span(piece).first(std::min<std::uint64_t>(piece.size(), span.size_bytes - done));
      const SysResult got = file.read(offset + moved, wanted);
      if (got <= 0) {
        return moved_or(moved, got);
      }
      const auto bytes = wanted.first(static_cast<std::size_t>(got));
      const std::size_t copied = call.user.memory().write(span.begin + done, bytes);
      moved += copied;
      done += copied;
      if (copied < bytes.size()) {
        return moved_or(moved, -EFAULT);
      }
      if (bytes.size() < wanted.size()) {
        return static_cast<SysResult>(moved);
      }
    }
  }
  return static_cast<SysResult>(moved);
}

struct Written {
  std::uint64_t bytes = 0;  // Including those of earlier attempts.
  SysResult stopped_by = 0;
};

// From byte `skipped` of the spans on: earlier attempts have written what is before it.
Written write_all(Call& call, File& file, std::span<const UserSpan> spans, std::uint64_t offset,
                  std::uint64_t skipped) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, sum_of(spans)));
  Written written{skipped, 0};
  for (const UserSpan& span : spans) {
    std::uint64_t done = std::min(skipped, span.size_bytes);
    skipped -= done;
    while (done < span.size_bytes) {
      const auto wanted =
          std::span(piece).first(std::min<std::uint64_t>(piece.size(), span.size_bytes - done));
      const std::size_t copied = call.user.memory().read(span.begin + done, wanted);
      if (copied == 0) {
        written.stopped_by = -EFAULT;
        return written;
      }
      const SysResult got = file.write(offset + written.bytes, wanted.first(copied));
      if (got < 0) {
        written.stopped_by = got;
        return written;
      }
      written.bytes += static_cast<std::uint64_t>(got);
      done += static_cast<std::uint64_t>(got);
      if (static_cast<std::size_t>(got) < copied && got == 0) {
        return written;
      }
    }
  }
  return written;
}

}  // namespace

SysResult read_file(Call& call, File& file, std::span<const UserSpan> spans,
                    std::optional<std::uint64_t> at) {
  if (!file.can_read()) {
    return -EBADF;
  }
  if (sum_of(spans) == 0) {
    return 0;
  }
  const std::uint64_t offset = at.value_or(file.offset());
  const SysResult result = read_all(call, file, spans, offset);
  if (result == -EAGAIN && !file.is_nonblocking()) {
    return call.wait({Wait::Until::kReady, file.deadline(), true});
  }
  if (result > 0 && !at && file.is_seekable()) {
    file.set_offset(offset + static_cast<std::uint64_t>(result));
  }
  return result;
}

SysResult write_file(Call& call, File& file, std::span<const UserSpan> spans,
                     std::optional<std::uint64_t> at) {
  if (!file.can_write()) {
    return -EBADF;
  }
  if (sum_of(spans) == 0) {
    return 0;
  }
  const bool appends = (file.flags() & O_APPEND) != 0 && file.is_seekable();
  const std::uint64_t offset = appends ? file.stat().size_bytes : at.value_or(file.offset());
  const std::uint64_t before = call.resumed != nullptr ? call.resumed->progress : 0;
  const Written written = write_all(call, file, spans, offset, before);
  if (written.stopped_by == -EAGAIN && !file.is_nonblocking()) {
    const SysResult blocked = call.wait({Wait::Until::kReady, {}, true});
    call.thread.wait->progress = written.bytes;
    return blocked;
  }
  if (written.stopped_by == -EPIPE && written.bytes == 0) {
    call.process.signals.send({.signal = SIGPIPE, .process = kProcessId}, &call.thread,
                              call.thread);
  }
  if (file.kind() == FileKind::kStasis && written.stopped_by == -EPROTO) {
    call.process.note("a response was written to /dev/stasis before a request was read (EPROTO)");
  } else if (file.kind() == FileKind::kStasis && written.stopped_by == -EFBIG) {
    call.process.note("a response of more than " +
                      std::to_string(call.process.config.response_bytes_max) +
                      " bytes was written to /dev/stasis (EFBIG)");
    return -EFBIG;  // Also if the first part of this write was taken: it is forgotten with the
                    // rest.
  }
  const SysResult result = moved_or(written.bytes, written.stopped_by);
  if (result > 0 && !at && file.is_seekable()) {
    file.set_offset(offset + written.bytes);
  }
  return result;
}

}  // namespace stasis::linux_guest
