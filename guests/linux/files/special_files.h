// The files that are not on any disk and have no other end: devices, the console, eventfd, timerfd.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

enum class DeviceKind : std::uint8_t { kNull, kZero, kFull, kRandom };

class DeviceFile final : public File {
 public:
  using Random = std::function<void(std::span<std::byte>)>;
  DeviceFile(int flags, std::string path, DeviceKind device, std::uint64_t number, Random random)
      : File(FileKind::kDevice, flags, std::move(path)),
        device_(device),
        number_(number),
        random_(std::move(random)) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] bool is_seekable() const override { return true; }
  [[nodiscard]] FileStat stat() const override;

 private:
  DeviceKind device_;
  std::uint64_t number_;
  Random random_;
};

// Standard input (which is at its end) and the two outputs.
class ConsoleFile final : public File {
 public:
  using Output = std::function<void(int descriptor, std::string_view bytes)>;
  ConsoleFile(int flags, int number, const Output& output)
      : File(FileKind::kConsole, flags, "pipe:[" + std::to_string(number + 1) + "]"),
        number_(number),
        output_(output) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
  const Output& output_;  // Of the configuration, which outlives the files.
};

class EventFile final : public File {
 public:
  EventFile(int flags, std::uint64_t count, bool is_semaphore)
      : File(FileKind::kEvent, flags, "anon_inode:[eventfd]"),
        count_(count),
        is_semaphore_(is_semaphore) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override { return activity_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] bool is_semaphore() const { return is_semaphore_; }

 private:
  std::uint64_t count_;
  bool is_semaphore_;
  std::uint64_t activity_ = 0;
};

class TimerFile final : public File {
 public:
  TimerFile(int flags, ClockKind clock_kind, const GuestClock& clock)
      : File(FileKind::kTimer, flags, "anon_inode:[timerfd]"),
        clock_kind_(clock_kind),
        clock_(&clock) {}
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override { return expirations(); }
  [[nodiscard]] std::optional<Deadline> deadline() const override;
  void arm(std::optional<Deadline> next, std::int64_t interval_ns) {
    next_ = next;
    interval_ns_ = interval_ns;
  }
  [[nodiscard]] std::uint64_t expirations() const;  // Not yet read.
  [[nodiscard]] const std::optional<Deadline>& next() const {
    return next_;
  }  // The first not read.
  [[nodiscard]] std::int64_t interval_ns() const { return interval_ns_; }
  [[nodiscard]] ClockKind clock_kind() const { return clock_kind_; }

 private:
  ClockKind clock_kind_;
  const GuestClock* clock_;
  std::optional<Deadline> next_;
  std::int64_t interval_ns_ = 0;
};

}  // namespace stasis::linux_guest
