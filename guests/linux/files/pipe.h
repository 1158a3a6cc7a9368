// Pipes and stream sockets within the VM: bytes between descriptors of the one process.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

constexpr std::size_t kPipeBytesMax = 65536;

// Bytes on their way, and how many descriptions are at each end. Shared by these.
struct PipeBuffer {
  std::deque<std::byte> bytes;
  int readers = 0, writers = 0;
  std::uint64_t activity = 0;
};
using PipePointer = std::shared_ptr<PipeBuffer>;

// One end. Counts itself at the buffer.
class PipeFile final : public File {
 public:
  PipeFile(int flags, PipePointer pipe, std::uint64_t inode);
  ~PipeFile() override;
  PipeFile(const PipeFile&) = delete;
  PipeFile& operator=(const PipeFile&) = delete;
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override { return pipe_->activity; }
  [[nodiscard]] SysResult bytes_ready() const override;
  [[nodiscard]] const PipePointer& pipe() const { return pipe_; }
  [[nodiscard]] std::uint64_t inode() const { return inode_; }

 private:
  PipePointer pipe_;
  std::uint64_t inode_;
};

// One of a pair: reads from one buffer, writes to the other.
class SocketFile final : public File {
 public:
  SocketFile(int flags, PipePointer in, PipePointer out, std::uint64_t inode);
  ~SocketFile() override;
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override { return in_->activity + out_->activity; }
  [[nodiscard]] SysResult bytes_ready() const override;
  // SHUT_RD, SHUT_WR, SHUT_RDWR.
  void shut_down(bool reading, bool writing);
  [[nodiscard]] const PipePointer& in() const { return in_; }
  [[nodiscard]] const PipePointer& out() const { return out_; }
  [[nodiscard]] std::uint64_t inode() const { return inode_; }
  [[nodiscard]] bool reads() const { return reads_; }
  [[nodiscard]] bool writes() const { return writes_; }

 private:
  PipePointer in_, out_;
  std::uint64_t inode_;
  bool reads_ = true, writes_ = true;
};

}  // namespace stasis::linux_guest
